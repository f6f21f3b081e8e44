#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// Full lower-casing (Unicode 14.0, section 3.13, SpecialCasing.txt without locales): U+0130 becomes two characters, a
// capital sigma at the end of a word the final one. Bytes that are not valid UTF-8 stay as they are.
[[nodiscard]] std::string lower_case(std::string_view text);

// A stretch that lower_case() made longer or shorter: behind it, byte `lowered` of the result is byte `original` of the
// text, and so on up to the next stretch.
struct CaseShift {
  size_t lowered = 0;
  size_t original = 0;
};
// In ascending order; nearly always empty.
[[nodiscard]] std::string lower_case(std::string_view text, std::vector<CaseShift>& shifts);

// Case folding that keeps every byte in its place: a character becomes its full folding (CaseFolding.txt, C and F) when
// that has as many bytes, and stays otherwise. So "ß" becomes "ss", while "ẞ" stays. Replaces `out`.
void fold_case_in_place(std::string_view text, std::string& out);

}  // namespace verbatim
