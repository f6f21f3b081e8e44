#pragma once

#include <cstdint>
#include <string_view>

namespace verbatim {

// Writing systems that texts are reported by. Coarser than Unicode's scripts where people count together what they
// write together: Hiragana and Katakana are kKana, and characters of no script of their own are kOther.
enum class Script : uint8_t {
  kOther,
  kLatin,
  kGreek,
  kCyrillic,
  kArmenian,
  kHebrew,
  kArabic,
  kDevanagari,
  kBengali,
  kGurmukhi,
  kGujarati,
  kOriya,
  kTamil,
  kTelugu,
  kKannada,
  kMalayalam,
  kSinhala,
  kThai,
  kLao,
  kTibetan,
  kMyanmar,
  kGeorgian,
  kHangul,
  kEthiopic,
  kKhmer,
  kMongolian,
  kKana,
  kHan,
  kCount,
};

// "Latin", "Han", ...
[[nodiscard]] std::string_view name_of(Script script);

// By blocks of the Unicode standard: letters and marks of a block count for its script; ASCII other than letters, and
// punctuation, symbols and digits that scripts share, are kOther.
[[nodiscard]] Script script_of(char32_t character);

// The script that most characters of a text belong to, kOther left out of the count unless nothing else is there.
[[nodiscard]] Script script_of(std::string_view text);

}  // namespace verbatim
