#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace verbatim {
namespace {

TEST(unicode, knows_the_classes_of_characters_from_the_published_tables) {
  // UnicodeData.txt, general categories; PropList.txt, White_Space.
  EXPECT_EQ(character_classes(U'a'), kLetter);
  EXPECT_EQ(character_classes(U'7'), kNumber);
  EXPECT_EQ(character_classes(U'_'), kPunctuation);
  EXPECT_EQ(character_classes(U'+'), kSymbol);
  EXPECT_EQ(character_classes(U'\n'), kSpace);
  EXPECT_EQ(character_classes(0x00), kNoClass);
  EXPECT_EQ(character_classes(0x0301), kMark);         // combining acute accent, Mn
  EXPECT_EQ(character_classes(0x0903), kMark);         // Devanagari visarga, Mc
  EXPECT_EQ(character_classes(0x4E2D), kLetter);       // Lo
  EXPECT_EQ(character_classes(0x01C5), kLetter);       // Lt
  EXPECT_EQ(character_classes(0x2167), kNumber);       // Roman numeral eight, Nl
  EXPECT_EQ(character_classes(0x00BD), kNumber);       // one half, No
  EXPECT_EQ(character_classes(0x0967), kNumber);       // Devanagari one, Nd
  EXPECT_EQ(character_classes(0x1F600), kSymbol);      // So
  EXPECT_EQ(character_classes(0x2019), kPunctuation);  // Pf
  EXPECT_EQ(character_classes(0x20AC), kSymbol);       // Sc
  EXPECT_EQ(character_classes(0x200B), kNoClass);      // zero width space, Cf, no White_Space
  EXPECT_EQ(character_classes(0x180E), kNoClass);      // Mongolian vowel separator, Cf since Unicode 6.3
  EXPECT_EQ(character_classes(0xD800), kNoClass);
  EXPECT_EQ(character_classes(0x110000), kNoClass);
  EXPECT_EQ(character_classes(0xFFFFFFFF), kNoClass);
}

TEST(unicode, lists_exactly_the_25_white_space_characters) {
  std::vector<char32_t> spaces;
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (is_space(value)) spaces.push_back(value);
  }
  EXPECT_EQ(spaces, (std::vector<char32_t>{0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x20,   0x85,   0xA0,   0x1680,
                                           0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                           0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}));
}

TEST(unicode, normalises_valid_runs_and_leaves_other_bytes_alone) {
  EXPECT_EQ(normalize_unicode("a\xCC\x88", NormalForm::kNfc), "\xC3\xA4");
  EXPECT_EQ(normalize_unicode("\xC3\xA4", NormalForm::kNfd), "a\xCC\x88");
  EXPECT_EQ(normalize_unicode("\xEF\xAC\x81", NormalForm::kNfkc), "fi");
  EXPECT_EQ(normalize_unicode("\xEF\xAC\x81", NormalForm::kNfc), "\xEF\xAC\x81");
  EXPECT_EQ(normalize_unicode("\xFF"
                              "a\xCC\x88\xFE",
                              NormalForm::kNfc),
            "\xFF\xC3\xA4\xFE");
  EXPECT_EQ(normalize_unicode(std::string("a\0b", 3), NormalForm::kNfc), std::string("a\0b", 3));
  EXPECT_EQ(normalize_unicode("", NormalForm::kNfkd), "");
}

}  // namespace
}  // namespace verbatim
