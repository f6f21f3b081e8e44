#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace verbatim {

struct NearRow {
  uint32_t row = 0;
  float cosine = 0;  // -1 to 1
};

// For each row its `most` nearest other rows by the angle between them, the nearest first, earlier rows first where the
// cosine is the same. [N][min(most, N - 1)]. A row of zeros has the cosine 0 with every other one.
//
// Exact, by all pairs: N^2 * width steps. Throws InputError for a value that is not finite.
[[nodiscard]] std::vector<std::vector<NearRow>> nearest_rows(std::span<const float> rows_ND, size_t width, size_t most);

}  // namespace verbatim
