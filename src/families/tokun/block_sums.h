#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/positions.h"

namespace verbatim {

// Sums of rows in the place of a product: where a block's vector is one matrix times the vectors of its C characters in
// a row, what a character adds at each of its places depends on nothing else. Characters come again and again, so that
// is looked up: C rows of L floats for a block, instead of C * W * L multiplications.
class BlockSums {
 public:
  // Vectors of characters, [U, W] float32, from their units.
  using CharacterVectors = std::function<at::Tensor(const std::vector<int32_t>& units)>;
  // join [L, C * W]
  BlockSums(const at::Tensor& join_LCW, int64_t characters);

  // Makes sure that the units of a batch are in the table; false when it has no room for so many different ones.
  [[nodiscard]] bool learn(const PositionBatch& batch, const CharacterVectors& vectors);
  // Of rows [begin, end) of a batch that was learnt, [end - begin, L] float32.
  [[nodiscard]] at::Tensor sums(const PositionBatch& batch, int64_t begin, int64_t end) const;

 private:
  static constexpr int64_t kMostCharacters = 8192;
  at::Tensor joins_CWL_;  // [C, W, L]
  int64_t characters_, width_;
  std::vector<int32_t> slots_;     // of each unit, -1: not known
  std::vector<at::Tensor> pages_;  // [kPage, C, L]
  int64_t known_ = 0;
  static constexpr int64_t kPage = 64;
};

}  // namespace verbatim
