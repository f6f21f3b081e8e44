#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/positions.h"

namespace verbatim {

// Sums of rows in the place of a product: where a block's vector is one matrix times the vectors of its C characters in
// a row, what a character adds at each of its places depends on nothing else. Characters come again and again, so that
// is looked up: C rows of L numbers for a block, instead of C * W * L multiplications.
class BlockSums {
 public:
  // Vectors of characters, [U, W] float32, from their units.
  using CharacterVectors = std::function<at::Tensor(const std::vector<int32_t>& units)>;
  // join [L, C * W]. Rows are kept in `type`, float32 or bfloat16; sums are formed in float32.
  BlockSums(const at::Tensor& join_LCW, int64_t characters, at::ScalarType type);

  // Makes sure that the units of a batch are in the table; false where products cost less, because the batch is mostly
  // units that never came before, or there is no room for so many different ones.
  [[nodiscard]] bool learn(const PositionBatch& batch, const CharacterVectors& vectors);
  // The sums of rows [begin, end) of a batch that was learnt, to out [end - begin, L]. With an epsilon, each row is
  // divided by the root of its mean square plus epsilon.
  void write(const PositionBatch& batch, int64_t begin, int64_t end, std::optional<double> epsilon, float* out) const;

 private:
  void keep(const at::Tensor& sums_UM);

  at::Tensor joins_WM_;  // [W, C * L]
  int64_t characters_, width_, most_characters_;
  at::ScalarType type_;
  std::vector<int32_t> slots_;  // of each unit, -1: not known
  std::vector<int32_t> units_;  // in the order of their slots
  // Room for [most_characters_, C, L]; what is not used is never touched, so it takes no memory. Two numbers in
  // bfloat16 share a word, see packed() in the source.
  at::Tensor rows_;
};

}  // namespace verbatim
