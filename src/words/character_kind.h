#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace verbatim {

// What the word splitter must know of a character. Unicode 14.0 (the version of the goldens; tests compare).
//
// Scripts without blanks come in two groups. East Asian text puts no blank beside its characters at all. In the others
// (Thai, Lao, Khmer, Myanmar, Tibetan and relatives) a blank ends a phrase, and foreign words stand between blanks.
enum class CharacterKind : uint8_t {
  kOther,      // a word by itself: digits, most punctuation, symbols
  kInvalid,    // a byte outside valid UTF-8
  kInvisible,  // white space other than U+0020, controls, format characters
  kOpening,    // brackets, quotation marks and signs that stand before a word: no blank behind them
  kClosing,    // ... behind a word: no blank before them
  kBetween,    // apostrophe and long dash: no blank on either side
  kLetter,     // joins with its neighbours: categories L, Nl, No
  kMark,       // belongs to the character before it: Mn, Mc, Me, joiners, emoji modifiers
  // East Asian:
  kHan,
  kHiragana,
  kEastLetter,       // Katakana, Bopomofo, full-width letters
  kProlonged,        // the long vowel sign, continues either kana
  kEastPunctuation,  // and digits and symbols
  // Other scripts without blanks; all but the last two join (L, Nl, No) or belong to the character before (M):
  kBlanklessLetter,
  kLeadingVowel,   // written before its consonant
  kTrailingVowel,  // a letter that never begins a syllable, and signs of repetition
  kBlanklessMark,
  kStacker,       // a mark that puts the next letter below this one
  kFinalMark,     // a mark on a letter that ends the syllable before it
  kFinalStacker,  // both
  kSyllable,      // Tibetan letters: words end at its own delimiter
  kBlanklessPunctuation,
};
inline constexpr size_t kCharacterKinds = 22;

// Kinds of all characters in two levels: 256 characters to a page, equal pages stored once. Built on first use (some
// milliseconds), then two loads per character; thread safe.
class CharacterKinds {
 public:
  [[nodiscard]] static const CharacterKinds& get();

  // `value` must not be above U+10FFFF.
  [[nodiscard]] CharacterKind kind(char32_t value) const { return pages_[page_of_[value >> 8]][value & 0xFF]; }

 private:
  CharacterKinds();

  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<std::array<CharacterKind, 256>> pages_;
};

}  // namespace verbatim
