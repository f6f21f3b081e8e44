#include "train/batch_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "corpus/instruct.h"

namespace verbatim {

namespace {

PositionBatch batch_of_texts(const MemoryMap& map, const Segmenter& segmenter, const std::vector<Piece>& drawn) {
  std::vector<TextPiece> pieces;
  for (const Piece& piece : drawn) {
    const std::string_view document = map.document(piece.document);
    pieces.push_back({.bytes = document.substr(piece.begin, piece.end - piece.begin),
                      .starts_document = piece.begin == 0,
                      .ends_document = piece.end == document.size()});
  }
  return make_batch(segmenter, pieces);
}

PositionBatch batch_of_conversations(const MemoryMap& map, const Segmenter& segmenter, const std::vector<Piece>& drawn,
                                     uint64_t window_bytes) {
  PositionBatch batch;
  for (const Piece& piece : drawn) {
    const InstructDocument conversation = parse_instruct_document(
        map.document(piece.document), fmt::format("training text, document {}", piece.document));
    std::string text;
    std::vector<ByteRange> learnt;
    for (const InstructPiece& part : conversation) {
      if (part.has_loss) learnt.push_back({.begin = text.size(), .end = text.size() + part.content.size()});
      text += part.content;
    }
    append_partly_learnt(batch, segmenter, text, learnt, window_bytes);
  }
  return batch;
}

// Of conversations no piece may be cut: the window of the sampler holds the longest.
SamplerOptions whole_documents(const MemoryMap& map, SamplerOptions options) {
  for (uint64_t d = 0; d < map.document_count(); ++d) {
    options.window_bytes = std::max<uint64_t>(options.window_bytes, map.document(d).size());
  }
  options.batch_bytes = std::max(options.batch_bytes, options.window_bytes);
  return options;
}

}  // namespace

BatchSource::BatchSource(const MemoryMap& map, const Segmenter& segmenter, SamplerOptions options,
                         SamplerPosition start, size_t threads, size_t ahead, DocumentKind kind)
    : sampler_(map, kind == DocumentKind::kText ? options : whole_documents(map, options)) {
  sampler_.seek(start);
  const auto draw = [this] {
    Draft draft{.pieces = {}, .taken_from = sampler_.position(), .next = {}};
    draft.pieces = sampler_.next();
    draft.next = sampler_.position();
    return draft;
  };
  const auto make = [&map, &segmenter, kind, window = options.window_bytes](const Draft& draft) {
    return PreparedBatch{.batch = kind == DocumentKind::kText
                                      ? batch_of_texts(map, segmenter, draft.pieces)
                                      : batch_of_conversations(map, segmenter, draft.pieces, window),
                         .taken_from = draft.taken_from,
                         .next = draft.next};
  };
  prefetcher_ = std::make_unique<Prefetcher<Draft, PreparedBatch>>(draw, make, threads, ahead);
}

PreparedBatch BatchSource::next() { return prefetcher_->next(); }

}  // namespace verbatim
