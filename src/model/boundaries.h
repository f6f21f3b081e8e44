#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/rows.h"

namespace verbatim {

// Where patches end. A boundary at row t closes the patch that began behind the previous boundary: the inner backbone
// reads the patch there, and its answer helps to predict row t + 1 and those after it. Row 0 of a sequence is always a
// boundary.
//   fixed:N  rows 0, N, 2N, ... of the sequence (MEGABYTE)
//   space    a row whose last byte is space-like when the byte before is not (SpaceByte, arXiv 2404.14408, section 3)
class BoundaryRule {
 public:
  // Throws InputError for an unknown rule.
  [[nodiscard]] static BoundaryRule parse(std::string_view text, std::string_view where);

  [[nodiscard]] bool closes(int64_t row, uint16_t previous_symbol, uint16_t symbol) const;

 private:
  int64_t stride_ = 0;  // 0: space
};

// The boundaries of a whole batch, and what follows from them.
struct Patches {
  std::vector<int64_t> boundary_row;  // [K] row of each boundary
  std::vector<int64_t> begin_row;     // [K] first row of each patch; the patch is [begin_row, boundary_row]
  std::vector<int64_t> newest;        // [N] patch that ended at or before each row
  Rows inner;                         // the patches as rows: one for each boundary
};
[[nodiscard]] Patches find_patches(const BoundaryRule& rule, const Rows& rows);

}  // namespace verbatim
