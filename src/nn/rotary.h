#pragma once

#include <cmath>
#include <cstdint>

namespace verbatim::nn {

// Rotary positions (Su et al. 2021) of a head of d columns: pair i turns by position * frequency(i, d).
struct RotaryOptions {
  double theta = 0;          // base of the angles; 0: no rotary embedding
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + d/2)
  int64_t width = 0;         // columns that turn: the first width/2 pairs, the others stay; 0: all

  // theta^(-2i/width), 0 for pairs that stay.
  [[nodiscard]] double frequency(int64_t pair, int64_t head_width) const {
    const int64_t turning = width == 0 ? head_width : width;
    if (2 * pair >= turning) return 0;
    return std::pow(theta, -2.0 * static_cast<double>(pair) / static_cast<double>(turning));
  }
};

}  // namespace verbatim::nn
