#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace verbatim::nn {

// The ragged batch: N rows of all sequences, one after the other. Sequence s has the rows [offsets[s], offsets[s+1]).
// Linear layers need not know; attention, scans, pooling and losses take this. Lives on the CPU whatever the device.
struct Sequences {
  std::vector<int64_t> offsets = {0};  // [S+1]

  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  [[nodiscard]] int64_t rows() const { return offsets.back(); }
  [[nodiscard]] int64_t length(int64_t s) const { return offsets[s + 1] - offsets[s]; }
  [[nodiscard]] int64_t longest() const;
};

}  // namespace verbatim::nn
