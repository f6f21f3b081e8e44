#include "pictures/rows.h"

#include <cmath>

#include "base/error.h"

namespace verbatim {

size_t count_rows(std::span<const float> rows_ND, size_t width) {
  VERBATIM_ASSERT(width > 0 || rows_ND.empty(), "rows need a width");
  VERBATIM_ASSERT(rows_ND.empty() || rows_ND.size() % width == 0, "{} values are no rows of {}", rows_ND.size(), width);
  for (size_t i = 0; i < rows_ND.size(); ++i) {
    if (std::isfinite(rows_ND[i])) continue;
    throw_input("row {}, column {} is {}, must be a finite number", i / width, i % width, rows_ND[i]);
  }
  return rows_ND.empty() ? 0 : rows_ND.size() / width;
}

}  // namespace verbatim
