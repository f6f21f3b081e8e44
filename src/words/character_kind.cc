#include "words/character_kind.h"

#include <algorithm>
#include <map>

#include "words/unicode_category.h"

namespace verbatim {
namespace {

using enum CharacterKind;

struct KindRange {
  char32_t first;
  char32_t last;
  CharacterKind kind;
};

// Letters (categories L, Nl, No) that are more than that. Blocks.txt and the code charts.
constexpr KindRange kLetters[] = {
    // Thai. Vowels written before their consonant have the property Logical_Order_Exception.
    {0x0E2F, 0x0E30, kTrailingVowel},
    {0x0E32, 0x0E33, kTrailingVowel},
    {0x0E40, 0x0E44, kLeadingVowel},
    {0x0E45, 0x0E46, kTrailingVowel},
    {0x0E01, 0x0E7F, kBlanklessLetter},
    // Lao
    {0x0EAF, 0x0EB0, kTrailingVowel},
    {0x0EB2, 0x0EB3, kTrailingVowel},
    {0x0EBD, 0x0EBD, kTrailingVowel},
    {0x0EC0, 0x0EC4, kLeadingVowel},
    {0x0EC6, 0x0EC6, kTrailingVowel},
    {0x0E80, 0x0EFF, kBlanklessLetter},
    {0x0F00, 0x0FFF, kSyllable},         // Tibetan
    {0x1000, 0x109F, kBlanklessLetter},  // Myanmar
    {0x17D7, 0x17D7, kTrailingVowel},    // Khmer sign of repetition
    {0x1780, 0x17FF, kBlanklessLetter},  // Khmer
    {0x1950, 0x19AF, kBlanklessLetter},  // Tai Le, New Tai Lue
    {0x19B0, 0x19B4, kTrailingVowel},
    {0x19B5, 0x19B7, kLeadingVowel},
    {0x19B8, 0x19B9, kTrailingVowel},
    {0x19BA, 0x19BA, kLeadingVowel},
    {0x19BB, 0x19C9, kTrailingVowel},
    {0x1A20, 0x1AAF, kBlanklessLetter},  // Tai Tham
    {0x1B00, 0x1B7F, kBlanklessLetter},  // Balinese
    {0xA980, 0xA9DF, kBlanklessLetter},  // Javanese
    {0xA9E0, 0xA9FF, kBlanklessLetter},  // Myanmar Extended-B
    {0xAA60, 0xAA7F, kBlanklessLetter},  // Myanmar Extended-A
    {0xAAB1, 0xAAB1, kTrailingVowel},    // Tai Viet
    {0xAAB5, 0xAAB6, kLeadingVowel},
    {0xAAB9, 0xAAB9, kLeadingVowel},
    {0xAABA, 0xAABA, kTrailingVowel},
    {0xAABB, 0xAABC, kLeadingVowel},
    {0xAABD, 0xAABD, kTrailingVowel},
    {0xAAC0, 0xAAC2, kTrailingVowel},
    {0xAA80, 0xAADF, kBlanklessLetter},
    {0x3005, 0x3007, kHan},
    {0x3021, 0x303C, kHan},
    {0x3041, 0x309F, kHiragana},
    {0x30FC, 0x30FC, kProlonged},
    {0x30A0, 0x312F, kEastLetter},  // Katakana, Bopomofo
    {0x3190, 0x319F, kEastLetter},  // Kanbun
    {0x31A0, 0x31FF, kEastLetter},  // Bopomofo, Katakana extensions
    {0x3200, 0x33FF, kEastLetter},  // enclosed numbers
    {0x3400, 0x4DBF, kHan},
    {0x4E00, 0x9FFF, kHan},
    {0xF900, 0xFAFF, kHan},
    {0xFF21, 0xFF5A, kEastLetter},  // full-width Latin
    {0xFF70, 0xFF70, kProlonged},
    {0xFF66, 0xFF9F, kEastLetter},  // half-width Katakana
    {0x16FE3, 0x16FE3, kHan},       // sign of repetition
    {0x17000, 0x18D7F, kHan},       // Tangut, Khitan
    {0x1AFF0, 0x1AFFF, kEastLetter},
    {0x1B000, 0x1B16F, kHiragana},
    {0x1B170, 0x1B2FF, kHan},  // Nushu
    {0x20000, 0x3FFFF, kHan},
};

// Marks that do more than belong to the character before them.
constexpr KindRange kMarks[] = {
    {0x1039, 0x1039, kFinalStacker},  // Myanmar virama
    {0x103A, 0x103A, kFinalMark},     // Myanmar asat
    {0x17D2, 0x17D2, kStacker},       // Khmer coeng
    {0x1A60, 0x1A60, kStacker},       // Tai Tham sakot
    {0x1B44, 0x1B44, kStacker},       // Balinese adeg adeg
    {0xA9C0, 0xA9C0, kStacker},       // Javanese pangkon
    {0x0E00, 0x109F, kBlanklessMark}, {0x1780, 0x17FF, kBlanklessMark}, {0x1950, 0x19DF, kBlanklessMark},
    {0x1A20, 0x1AAF, kBlanklessMark}, {0x1B00, 0x1B7F, kBlanklessMark}, {0xA980, 0xA9FF, kBlanklessMark},
    {0xAA60, 0xAADF, kBlanklessMark},
};

// Format characters and symbols that belong to the character before them: soft hyphen, zero-width (non-)joiner, word
// joiner, emoji modifiers, tags.
constexpr KindRange kJoiners[] = {
    {0xAD, 0xAD, kMark},       {0x200C, 0x200D, kMark},   {0x2060, 0x2060, kMark},
    {0x1F3FB, 0x1F3FF, kMark}, {0xE0020, 0xE007F, kMark},
};

// Everything else.
constexpr KindRange kSingles[] = {
    {0x0E00, 0x109F, kBlanklessPunctuation},
    {0x1780, 0x17FF, kBlanklessPunctuation},
    {0x1950, 0x19FF, kBlanklessPunctuation},
    {0x1A20, 0x1AAF, kBlanklessPunctuation},
    {0x1B00, 0x1B7F, kBlanklessPunctuation},
    {0xA980, 0xA9FF, kBlanklessPunctuation},
    {0xAA60, 0xAADF, kBlanklessPunctuation},
    {0x2E80, 0x2FFF, kEastPunctuation},  // radicals, description characters
    {0x3000, 0x312F, kEastPunctuation},  // CJK symbols and punctuation, kana, Bopomofo
    {0x3190, 0x33FF, kEastPunctuation},
    {0xFE30, 0xFE4F, kEastPunctuation},  // vertical forms
    {0xFF01, 0xFF65, kEastPunctuation},  // full-width forms
    {0xFFE0, 0xFFE6, kEastPunctuation},
    {0xA1, 0xA1, kOpening},      // inverted exclamation mark
    {0xBF, 0xBF, kOpening},      // inverted question mark
    {0x2014, 0x2014, kBetween},  // em dash
    {0x2019, 0x2019, kBetween},  // apostrophe
    {0x2026, 0x2026, kClosing},  // ellipsis
    // Commas, stops and question marks with a blank behind them.
    {0x037E, 0x037E, kClosing},  // Greek
    {0x0387, 0x0387, kClosing},
    {0x0589, 0x0589, kClosing},  // Armenian
    {0x055C, 0x055E, kClosing},
    {0x05C3, 0x05C3, kClosing},  // Hebrew
    {0x060C, 0x060C, kClosing},  // Arabic
    {0x061B, 0x061B, kClosing},
    {0x061F, 0x061F, kClosing},
    {0x06D4, 0x06D4, kClosing},
    {0x0964, 0x0965, kClosing},  // Indic
    {0x1361, 0x1368, kClosing},  // Ethiopic
};

template <size_t N>
CharacterKind find(const KindRange (&ranges)[N], char32_t value, CharacterKind otherwise) {
  const auto* found = std::find_if(std::begin(ranges), std::end(ranges),
                                   [&](const KindRange& range) { return range.first <= value && value <= range.last; });
  return found == std::end(ranges) ? otherwise : found->kind;
}

CharacterKind kind_of(char32_t value) {
  const CharacterKind joiner = find(kJoiners, value, kOther);
  if (joiner != kOther) return joiner;
  switch (unicode_category(value)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return kOther;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return find(kLetters, value, kLetter);
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return find(kMarks, value, kMark);
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return find(kSingles, value, kInvisible);
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PI:
      return find(kSingles, value, kOpening);
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PF:
      return find(kSingles, value, kClosing);
    default:
      return find(kSingles, value, kOther);
  }
}

}  // namespace

const CharacterKinds& CharacterKinds::get() {
  static const CharacterKinds kinds;
  return kinds;
}

CharacterKinds::CharacterKinds() {
  std::map<std::array<CharacterKind, 256>, uint16_t> known;
  for (size_t page = 0; page < page_of_.size(); ++page) {
    std::array<CharacterKind, 256> kinds;
    for (size_t i = 0; i < 256; ++i) kinds[i] = kind_of(static_cast<char32_t>(page << 8 | i));
    const auto [place, is_new] = known.try_emplace(kinds, static_cast<uint16_t>(pages_.size()));
    if (is_new) pages_.push_back(kinds);
    page_of_[page] = place->second;
  }
}

}  // namespace verbatim
