#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/positions.h"

namespace verbatim {

// The blocks of a batch as numbers. N rows, T bytes of UTF-32-BE in a block.

// Writes the four bytes of a unit; returns the place behind them.
template <class Byte>
Byte* write_unit(Byte* to, int32_t unit) {
  for (int shift = 24; shift >= 0; shift -= 8) *to++ = static_cast<Byte>(unit >> shift & 255);
  return to;
}

// [N, T] int64: the bytes of each row's block, 0 behind its end.
[[nodiscard]] at::Tensor bytes_of_rows(const PositionBatch& batch, int64_t block_bytes);
// [N, T] int64: of the block that each row predicts, all 0 for the end of the document, -1 where nothing is predicted.
[[nodiscard]] at::Tensor bytes_of_targets(const PositionBatch& batch, int64_t block_bytes);

// The units of the blocks that are natural text, one after the other.
[[nodiscard]] std::span<const int32_t> natural_units(const PositionBatch& batch);

// Units without bytes of their own first: the different units of a batch, and which of them stands where.
struct DifferentUnits {
  at::Tensor bytes_U4;  // [U, 4] int64
  at::Tensor index_M;   // [M] int64, M = N * T / 4 places
};
[[nodiscard]] DifferentUnits different_units(const PositionBatch& batch, int64_t block_bytes);

// The units of a block that a model has written: up to the first 0. What is no character becomes U+FFFD: surrogates,
// numbers above U+10FFFF, and the escapes of bytes that belong to no character, so that what is written is valid UTF-8.
struct WrittenBlock {
  std::vector<int32_t> units;
  int64_t replaced = 0;
};
[[nodiscard]] WrittenBlock read_written_block(const uint8_t* bytes, int64_t block_bytes);
[[nodiscard]] WrittenBlock written_block(std::vector<int32_t> units);

}  // namespace verbatim
