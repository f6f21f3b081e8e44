#include "model/positions.h"

#include <algorithm>

#include "base/error.h"

namespace verbatim {

std::string_view name_of(Likelihood likelihood) {
  switch (likelihood) {
    case Likelihood::kExact:
      return "exact";
    case Likelihood::kBound:
      return "bound";
    case Likelihood::kDictionary:
      return "dictionary";
    case Likelihood::kNone:
      return "none";
  }
  return "none";
}

namespace {

void add_row(PositionBatch& batch, const int32_t* ids, size_t count, bool sets, uint16_t symbol, uint32_t end) {
  batch.ids.insert(batch.ids.end(), ids, ids + count);
  if (sets) {
    if (batch.id_offsets.empty()) batch.id_offsets.push_back(0);
    batch.id_offsets.push_back(static_cast<int64_t>(batch.ids.size()));
  }
  batch.symbols.push_back(symbol);
  batch.ends.push_back(end);
  batch.targets.push_back(-1);
}

// A row for each position of a span, without targets.
void add_rows(PositionBatch& batch, const Positions& positions, std::string_view text, const PositionSpan& span,
              bool sets) {
  const size_t count = span.end - span.begin, rows = batch.symbols.size();
  if (count == 0) return;
  const auto first_id = static_cast<std::ptrdiff_t>(sets ? positions.id_offsets[span.begin] : span.begin);
  const auto last_id = static_cast<std::ptrdiff_t>(sets ? positions.id_offsets[span.end] : span.end);
  if (sets) {
    if (batch.id_offsets.empty()) batch.id_offsets.push_back(0);
    const int64_t moved = static_cast<int64_t>(batch.ids.size()) - first_id;
    batch.id_offsets.resize(rows + count + 1);
    for (size_t i = 0; i < count; ++i) {
      batch.id_offsets[rows + i + 1] = moved + static_cast<int64_t>(positions.id_offsets[span.begin + i + 1]);
    }
  }
  batch.ids.insert(batch.ids.end(), positions.ids.begin() + first_id, positions.ids.begin() + last_id);
  batch.symbols.resize(rows + count);
  for (size_t i = 0; i < count; ++i) {
    // A position may stand for no byte of its own (a tokenizer's prefix): boundaries then see the byte before it.
    const uint32_t end = positions.ends[span.begin + i];
    batch.symbols[rows + i] = end > 0 ? static_cast<uint8_t>(text[end - 1]) : kStartSymbol;
  }
  batch.ends.insert(batch.ends.end(), positions.ends.begin() + static_cast<std::ptrdiff_t>(span.begin),
                    positions.ends.begin() + static_cast<std::ptrdiff_t>(span.end));
  batch.targets.resize(rows + count, -1);
}

}  // namespace

void append_positions(PositionBatch& batch, const Segmenter& segmenter, const Positions& positions,
                      std::string_view text, const PositionSpan& span) {
  VERBATIM_ASSERT(span.begin <= span.end && span.end <= positions.size());
  const bool sets = segmenter.sets();
  const size_t first_row = batch.symbols.size();
  if (span.start_row) {
    const std::vector<int32_t> start = segmenter.start_ids();
    add_row(batch, start.data(), start.size(), sets, kStartSymbol, 0);
    // A family that reads nothing before a text: the row that predicts its first position stands alone.
    if (start.empty()) batch.offsets.push_back(static_cast<int64_t>(batch.symbols.size()));
  }
  add_rows(batch, positions, text, span, sets);
  // Row r reads position span.begin + r - first, and the row before it predicts that position.
  const size_t first = batch.symbols.size() - (span.end - span.begin);
  for (size_t i = std::max(span.score_begin, span.begin + (first > first_row ? 0 : 1)); i < span.end; ++i) {
    const size_t row = first + i - span.begin;
    batch.targets[row - 1] = sets ? static_cast<int64_t>(row) : positions.ids[i];
    batch.scored_bytes += positions.ends[i] - positions.begin(i);
  }
  if (batch.symbols.size() == first_row) return;
  if (span.end_target && (sets || segmenter.end_id() >= 0)) {
    batch.targets.back() = sets ? kEndTarget : segmenter.end_id();
    ++batch.scored_ends;
  }
  const auto rows = static_cast<int64_t>(batch.symbols.size());
  if (batch.offsets.back() != rows) batch.offsets.push_back(rows);
}

void append_partly_learnt(PositionBatch& batch, const Segmenter& segmenter, std::string_view text,
                          const std::vector<ByteRange>& learnt, uint64_t most_bytes) {
  const Positions positions = segmenter.segment(text, DocumentPart::kStart);
  size_t end = positions.size();
  while (end > 0 && positions.ends[end - 1] > most_bytes) --end;
  const bool learns_end = end == positions.size() && !learnt.empty() && learnt.back().begin < learnt.back().end &&
                          learnt.back().end == text.size();
  const auto first_row = static_cast<size_t>(batch.rows());
  append_positions(batch, segmenter, positions, text, {.end = end, .end_target = learns_end});
  // Row r predicts position r (row 0 is the start row).
  size_t range = 0;
  for (size_t i = 0; i < end; ++i) {
    const uint32_t begin = positions.begin(i), stop = positions.ends[i];
    const uint64_t last = stop > begin ? stop - 1 : begin;
    while (range < learnt.size() && learnt[range].end <= last) ++range;
    if (range < learnt.size() && learnt[range].begin <= last) continue;
    batch.targets[first_row + i] = -1;
    batch.scored_bytes -= stop - begin;
  }
}

void predict_itself(PositionBatch& batch) {
  VERBATIM_ASSERT(!batch.id_offsets.empty() || batch.rows() == 0, "positions of one id each");
  batch.scored_bytes = batch.scored_ends = 0;
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    uint32_t begin = 0;
    for (int64_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) {
      const bool is_start = batch.symbols[row] == kStartSymbol;
      batch.targets[row] = is_start ? -1 : row;
      batch.scored_bytes += batch.ends[row] - begin;
      begin = batch.ends[row];
    }
  }
}

PositionBatch make_batch(const Segmenter& segmenter, const std::vector<TextPiece>& pieces) {
  PositionBatch batch;
  for (const TextPiece& piece : pieces) {
    const Positions positions =
        segmenter.segment(piece.bytes, piece.starts_document ? DocumentPart::kStart : DocumentPart::kLater);
    size_t score_begin = 0;
    while (score_begin < positions.size() && positions.ends[score_begin] <= piece.score_begin) ++score_begin;
    append_positions(batch, segmenter, positions, piece.bytes,
                     {.begin = 0,
                      .score_begin = score_begin,
                      .end = positions.size(),
                      .start_row = piece.starts_document,
                      .end_target = piece.ends_document});
  }
  return batch;
}

}  // namespace verbatim
