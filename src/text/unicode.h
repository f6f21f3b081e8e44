#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// Classes of characters by Unicode general category; space is the White_Space property. A character has at most one of
// letter, mark, number, punctuation, symbol; space is independent (line breaks and tabs are controls in Unicode).
enum CharacterClass : uint8_t {
  kNoClass = 0,
  kLetter = 1,       // L: Lu Ll Lt Lm Lo
  kMark = 2,         // M: Mn Mc Me
  kNumber = 4,       // N: Nd Nl No
  kPunctuation = 8,  // P: Pc Pd Ps Pe Pi Pf Po
  kSymbol = 16,      // S: Sm Sc Sk So
  kSpace = 32,       // White_Space
};

// Classes of all characters in two levels: 256 characters to a page, equal pages stored once (about 50 kB).
// Built on first use (some milliseconds), then two loads per character; thread safe.
class CharacterTable {
 public:
  [[nodiscard]] static const CharacterTable& get();

  // Flags of CharacterClass; 0 above U+10FFFF.
  [[nodiscard]] uint8_t classes(char32_t value) const {
    if (value > 0x10FFFF) return kNoClass;
    return pages_[page_of_[value >> 8]][value & 0xFF];
  }

 private:
  CharacterTable();

  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<std::array<uint8_t, 256>> pages_;
};

[[nodiscard]] inline uint8_t character_classes(char32_t value) { return CharacterTable::get().classes(value); }
[[nodiscard]] inline bool is_letter(char32_t value) { return (character_classes(value) & kLetter) != 0; }
[[nodiscard]] inline bool is_mark(char32_t value) { return (character_classes(value) & kMark) != 0; }
[[nodiscard]] inline bool is_number(char32_t value) { return (character_classes(value) & kNumber) != 0; }
[[nodiscard]] inline bool is_punctuation(char32_t value) { return (character_classes(value) & kPunctuation) != 0; }
[[nodiscard]] inline bool is_space(char32_t value) { return (character_classes(value) & kSpace) != 0; }

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// The normal form of a text. Bytes that are not valid UTF-8 stay where they are; the valid runs between them are
// normalised one by one.
[[nodiscard]] std::string normalize_unicode(std::string_view text, NormalForm form);

}  // namespace verbatim
