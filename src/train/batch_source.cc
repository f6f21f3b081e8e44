#include "train/batch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/random.h"
#include "blocks/augmentation.h"
#include "blocks/utf32.h"
#include "corpus/instruct.h"
#include "text/utf8.h"

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

std::string text_of_units(const std::u32string& units) {
  std::string stream, text;
  append_utf32be(units, stream);
  append_text(stream, Escapes::kRestore, text);
  return text;
}

std::string disturbed(std::string_view text, const ReconstructionOptions& options, Random& random) {
  std::u32string units = to_units(text);
  if (options.random_shift > 0 && units.size() > options.random_shift) {
    units.erase(0, random.below(options.random_shift + uint64_t{1}));
  }
  if (options.noise > 0) {
    const double each = options.noise / 4;
    units = add_noise(units, {.replace = each, .insert = each, .remove = each, .exchange = each}, random);
  }
  if (options.case_change > 0 && random.uniform() < options.case_change) {
    const std::array kinds = {CaseChange::kUpper, CaseChange::kLower, CaseChange::kSwap};
    units = change_case(units, kinds[random.below(kinds.size())], 1, random);
  }
  return text_of_units(units);
}

PositionBatch batch_for_reconstruction(const MemoryMap& map, const Segmenter& segmenter,
                                       const std::vector<Piece>& drawn, const ReconstructionOptions& options,
                                       Random random) {
  constexpr size_t kMadeUpCharacters = 256;             // in one piece
  constexpr double kScalarValues = 0.45, kEmoji = 0.1;  // shares of the pieces; the rest are made-up scripts
  PositionBatch batch;
  uint64_t characters = 0;
  const auto add = [&](const std::string& text) {
    const Positions positions = segmenter.segment(text, DocumentPart::kLater);
    append_positions(batch, segmenter, positions, text,
                     {.end = positions.size(), .start_row = false, .end_target = false});
  };
  for (const Piece& piece : drawn) {
    const std::string_view text = map.document(piece.document).substr(piece.begin, piece.end - piece.begin);
    characters += count_utf8_units(text);
    add(disturbed(text, options, random));
  }
  batch.natural_rows = batch.rows();
  auto made_up = static_cast<uint64_t>(std::llround(options.random_characters * static_cast<double>(characters)));
  while (made_up > 0) {
    const size_t count = std::min<uint64_t>(made_up, kMadeUpCharacters);
    std::u32string units;
    const double draw = random.uniform();
    if (draw < kScalarValues) {
      append_random_units(count, RandomUnits::kScalarValues, random, units);
    } else if (draw < kScalarValues + kEmoji) {
      append_made_up_emoji(count, random, units);
    } else {
      append_made_up_script(count, random, units);
    }
    add(text_of_units(units));
    made_up -= count;
  }
  predict_itself(batch);
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
                         SamplerPosition start, size_t threads, size_t ahead, DocumentKind kind,
                         const std::optional<ReconstructionOptions>& reconstruction)
    : sampler_(map, kind == DocumentKind::kText ? options : whole_documents(map, options)) {
  sampler_.seek(start);
  const auto draw = [this] {
    Draft draft{.pieces = {}, .taken_from = sampler_.position(), .next = {}};
    draft.pieces = sampler_.next();
    draft.next = sampler_.position();
    return draft;
  };
  const auto make = [&map, &segmenter, kind, reconstruction, window = options.window_bytes](const Draft& draft) {
    if (reconstruction.has_value()) {
      const uint64_t seed = mix_seed(mix_seed(reconstruction->seed, draft.taken_from.epoch), draft.taken_from.index);
      return PreparedBatch{
          .batch = batch_for_reconstruction(map, segmenter, draft.pieces, *reconstruction, Random(seed)),
          .taken_from = draft.taken_from,
          .next = draft.next};
    }
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
