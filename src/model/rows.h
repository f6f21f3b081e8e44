#pragma once

#include <cstdint>
#include <vector>

#include "model/positions.h"
#include "nn/sequences.h"

namespace verbatim {

// What travels with the vectors [N, D] through encoder, backbone and decoder: where sequences begin, and what boundary
// rules need from the text.
struct Rows {
  nn::Sequences sequences;
  std::vector<uint16_t> symbols;  // [N] last byte of each row, or kStartSymbol
  std::vector<uint32_t> ends;     // [N] byte offset in the sequence's text, just behind the row
  std::vector<uint8_t> marks;     // [N] TextMarks since the row before

  [[nodiscard]] static Rows of(const PositionBatch& batch);
  [[nodiscard]] int64_t count() const { return sequences.rows(); }
};

}  // namespace verbatim
