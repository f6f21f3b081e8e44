#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/utf8.h"

namespace verbatim::reference {

// UTF-8 by enumeration: every scalar value is encoded once by the bit layout of the Unicode standard (table 3-6), and
// all questions are answered by looking into that list. Slow and obviously right.
class Utf8Reference {
 public:
  Utf8Reference();

  // The character that starts at `position`, or the byte alone.
  [[nodiscard]] CodePoint decode(std::string_view text, size_t position) const;
  [[nodiscard]] Utf8Result validate(std::string_view text) const;
  // All bytes but the longest end of at most three bytes that begins an encoding without finishing it.
  [[nodiscard]] size_t complete_prefix_length(std::string_view bytes) const;

 private:
  std::unordered_map<std::string, char32_t> characters_;
  std::set<std::string, std::less<>> beginnings_;
};

}  // namespace verbatim::reference
