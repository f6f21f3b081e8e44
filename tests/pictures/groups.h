#pragma once

#include <cstdint>
#include <vector>

namespace verbatim {

// Rows of `width` numbers in groups: row i belongs to group i % groups. Centres have 10 in a column of their own, noise
// is even in [-1, 1] (a linear congruential generator, so that it is the same everywhere).
inline std::vector<float> grouped_rows(size_t count, size_t groups, size_t width) {
  std::vector<float> rows(count * width);
  uint32_t state = 12345;
  for (size_t i = 0; i < rows.size(); ++i) {
    state = state * 1664525 + 1013904223;
    rows[i] = static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
    if (i % width == i / width % groups) rows[i] += 10;
  }
  return rows;
}

}  // namespace verbatim
