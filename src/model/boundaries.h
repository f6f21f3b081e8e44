#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/backbone.h"
#include "model/rows.h"

namespace verbatim {

// Where patches end. A boundary at row t closes the patch that began behind the previous boundary: the inner backbone
// reads the patch there, and its answer helps to predict row t + 1 and those after it. Row 0 of a sequence is a
// boundary, always at the start of a document, elsewhere unless `first_row` says that the rule alone decides.
//   fixed:N  rows 0, N, 2N, ... of the sequence (MEGABYTE)
//   space    a row whose last byte is space-like when the byte before is not (SpaceByte, arXiv 2404.14408, section 3)
//   word     the same, and at every end of a sentence or paragraph
//   sentence, paragraph    where one ends (text/text_marks.h)
// And, where they are given, every row whose last byte is one of `symbols`.
class BoundaryRule {
 public:
  // Throws InputError for an unknown rule.
  [[nodiscard]] static BoundaryRule parse(std::string_view text, std::string_view where,
                                          const std::vector<int64_t>& symbols = {}, bool first_row = true);

  // marks: TextMarks of the row.
  [[nodiscard]] bool closes(int64_t row, uint16_t previous_symbol, uint16_t symbol, uint8_t marks) const;
  // The TextMarks that close a patch.
  [[nodiscard]] uint8_t marks() const { return marks_; }

 private:
  int64_t stride_ = 0;  // 0: not by number
  bool spaces_ = false;
  uint8_t marks_ = 0;
  std::vector<int64_t> symbols_;
  bool first_row_ = true;
};

// The boundaries of a whole batch, and what follows from them.
struct Patches {
  std::vector<int64_t> boundary_row;  // [K] row of each boundary
  std::vector<int64_t> begin_row;     // [K] first row of each patch; the patch is [begin_row, boundary_row]
  std::vector<int64_t> newest;        // [N] patch that ended at or before each row, -1: none in its sequence
  Rows inner;                         // the patches as rows: one for each boundary

  [[nodiscard]] LevelNotes notes(const Rows& rows) const;
};
// From the rows where boundaries are.
[[nodiscard]] Patches patches_of(const std::vector<uint8_t>& boundary, const Rows& rows);
[[nodiscard]] Patches find_patches(const BoundaryRule& rule, const Rows& rows);

}  // namespace verbatim
