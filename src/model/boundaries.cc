#include "model/boundaries.h"

#include <charconv>

#include "base/error.h"
#include "text/space_like.h"

namespace verbatim {

BoundaryRule BoundaryRule::parse(std::string_view text, std::string_view where) {
  BoundaryRule rule;
  if (text == "space") return rule;
  if (text.starts_with("fixed:")) {
    const std::string_view digits = text.substr(6);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rule.stride_);
    if (error == std::errc() && end == digits.data() + digits.size() && rule.stride_ >= 1) return rule;
  }
  throw_input("{}.boundary is \"{}\"; expected \"space\" or \"fixed:N\" with N >= 1, for instance \"fixed:4\"", where,
              text);
}

bool BoundaryRule::closes(int64_t row, uint16_t previous_symbol, uint16_t symbol) const {
  if (row == 0) return true;
  if (stride_ > 0) return row % stride_ == 0;
  const auto space_like = [](uint16_t s) { return s == kStartSymbol || is_space_like(static_cast<uint8_t>(s)); };
  return space_like(symbol) && !space_like(previous_symbol);
}

Patches find_patches(const BoundaryRule& rule, const Rows& rows) {
  Patches patches;
  patches.newest.resize(static_cast<size_t>(rows.count()));
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    const int64_t begin = rows.sequences.offsets[s], end = rows.sequences.offsets[s + 1];
    int64_t patch_begin = begin;
    uint16_t previous = kStartSymbol;
    for (int64_t row = begin; row < end; ++row) {
      const uint16_t symbol = rows.symbols[row];
      if (rule.closes(row - begin, previous, symbol)) {
        patches.begin_row.push_back(patch_begin);
        patches.boundary_row.push_back(row);
        patches.inner.symbols.push_back(symbol);
        patches.inner.ends.push_back(rows.ends[row]);
        patch_begin = row + 1;
      }
      patches.newest[row] = static_cast<int64_t>(patches.boundary_row.size()) - 1;
      previous = symbol;
    }
    patches.inner.sequences.offsets.push_back(static_cast<int64_t>(patches.boundary_row.size()));
  }
  return patches;
}

}  // namespace verbatim
