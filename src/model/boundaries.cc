#include "model/boundaries.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/space_like.h"
#include "text/text_marks.h"

namespace verbatim {

BoundaryRule BoundaryRule::parse(std::string_view text, std::string_view where, const std::vector<int64_t>& symbols,
                                 bool first_row) {
  BoundaryRule rule;
  rule.symbols_ = symbols;
  rule.first_row_ = first_row;
  rule.spaces_ = text == "space" || text == "word";
  rule.marks_ = text == "word" || text == "sentence" ? kSentenceEnd | kParagraphEnd
                : text == "paragraph"                ? kParagraphEnd
                                                     : 0;
  if (rule.spaces_ || rule.marks_ != 0) return rule;
  if (text.starts_with("fixed:")) {
    const std::string_view digits = text.substr(6);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rule.stride_);
    if (error == std::errc() && end == digits.data() + digits.size() && rule.stride_ >= 1) return rule;
  }
  throw_input(
      "{}.boundary is \"{}\"; expected \"space\", \"word\", \"sentence\", \"paragraph\", \"learned\", or \"fixed:N\" "
      "with "
      "N >= 1, for instance \"fixed:4\"",
      where, text);
}

bool BoundaryRule::closes(int64_t row, uint16_t previous_symbol, uint16_t symbol, uint8_t marks) const {
  if (row == 0 && (first_row_ || symbol == kStartSymbol)) return true;
  if (stride_ > 0) return row % stride_ == 0;
  if ((marks & marks_) != 0) return true;
  if (std::find(symbols_.begin(), symbols_.end(), symbol) != symbols_.end()) return true;
  if (!spaces_) return false;
  const auto space_like = [](uint16_t s) { return s == kStartSymbol || is_space_like(static_cast<uint8_t>(s)); };
  return space_like(symbol) && (row == 0 || !space_like(previous_symbol));
}

Patches patches_of(const std::vector<uint8_t>& boundary, const Rows& rows) {
  Patches patches;
  patches.newest.resize(static_cast<size_t>(rows.count()));
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    int64_t patch_begin = rows.sequences.offsets[s];
    uint8_t marks = 0;
    for (int64_t row = rows.sequences.offsets[s]; row < rows.sequences.offsets[s + 1]; ++row) {
      marks |= rows.marks[row];
      if (boundary[row] != 0) {
        patches.begin_row.push_back(patch_begin);
        patches.boundary_row.push_back(row);
        patches.inner.symbols.push_back(rows.symbols[row]);
        patches.inner.ends.push_back(rows.ends[row]);
        patches.inner.marks.push_back(marks);
        marks = 0;
        patch_begin = row + 1;
      }
      const auto newest = static_cast<int64_t>(patches.boundary_row.size()) - 1;
      patches.newest[row] = newest >= patches.inner.sequences.offsets.back() ? newest : -1;
    }
    patches.inner.sequences.offsets.push_back(static_cast<int64_t>(patches.boundary_row.size()));
  }
  return patches;
}

Patches find_patches(const BoundaryRule& rule, const Rows& rows) {
  std::vector<uint8_t> boundary(static_cast<size_t>(rows.count()));
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    const int64_t begin = rows.sequences.offsets[s];
    uint16_t previous = kStartSymbol;
    for (int64_t row = begin; row < rows.sequences.offsets[s + 1]; ++row) {
      boundary[row] = rule.closes(row - begin, previous, rows.symbols[row], rows.marks[row]) ? 1 : 0;
      previous = rows.symbols[row];
    }
  }
  return patches_of(boundary, rows);
}

LevelNotes Patches::notes(const Rows& rows) const {
  LevelNotes notes{.boundary = std::vector<uint8_t>(newest.size()),
                   .probability = {},
                   .ends = rows.ends,
                   .symbols = rows.symbols,
                   .loss = {}};
  for (const int64_t row : boundary_row) notes.boundary[row] = 1;
  return notes;
}

}  // namespace verbatim
