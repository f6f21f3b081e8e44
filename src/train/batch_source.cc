#include "train/batch_source.h"

namespace verbatim {

BatchSource::BatchSource(const MemoryMap& map, const Segmenter& segmenter, SamplerOptions options,
                         SamplerPosition start, size_t threads, size_t ahead)
    : sampler_(map, options) {
  sampler_.seek(start);
  const auto draw = [this] {
    Draft draft{.pieces = {}, .taken_from = sampler_.position(), .next = {}};
    draft.pieces = sampler_.next();
    draft.next = sampler_.position();
    return draft;
  };
  const auto make = [&map, &segmenter](const Draft& draft) {
    std::vector<TextPiece> pieces;
    for (const Piece& piece : draft.pieces) {
      const std::string_view document = map.document(piece.document);
      pieces.push_back({.bytes = document.substr(piece.begin, piece.end - piece.begin),
                        .starts_document = piece.begin == 0,
                        .ends_document = piece.end == document.size()});
    }
    return PreparedBatch{.batch = make_batch(segmenter, pieces), .taken_from = draft.taken_from, .next = draft.next};
  };
  prefetcher_ = std::make_unique<Prefetcher<Draft, PreparedBatch>>(draw, make, threads, ahead);
}

PreparedBatch BatchSource::next() { return prefetcher_->next(); }

}  // namespace verbatim
