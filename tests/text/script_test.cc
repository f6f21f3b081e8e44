#include "text/script.h"

#include <gtest/gtest.h>

namespace verbatim {
namespace {

TEST(script, knows_letters_by_their_blocks) {
  EXPECT_EQ(script_of(U'a'), Script::kLatin);
  EXPECT_EQ(script_of(U'ß'), Script::kLatin);
  EXPECT_EQ(script_of(U'Ω'), Script::kGreek);
  EXPECT_EQ(script_of(U'я'), Script::kCyrillic);
  EXPECT_EQ(script_of(U'ع'), Script::kArabic);
  EXPECT_EQ(script_of(U'ह'), Script::kDevanagari);
  EXPECT_EQ(script_of(U'\u0902'), Script::kDevanagari);  // a mark
  EXPECT_EQ(script_of(U'ไ'), Script::kThai);
  EXPECT_EQ(script_of(U'한'), Script::kHangul);
  EXPECT_EQ(script_of(U'か'), Script::kKana);
  EXPECT_EQ(script_of(U'漢'), Script::kHan);
  EXPECT_EQ(script_of(U'\U00020000'), Script::kHan);
}

TEST(script, leaves_shared_characters_out) {
  for (const char32_t character : {U' ', U'1', U'-', U'×', U'€', U'。', U'\U0001F600', char32_t{0x10FFFF}}) {
    EXPECT_EQ(script_of(character), Script::kOther) << static_cast<uint32_t>(character);
  }
}

TEST(script, takes_the_most_frequent_of_a_text) {
  EXPECT_EQ(script_of("\"word\","), Script::kLatin);
  EXPECT_EQ(script_of("\xD0\xBC\xD0\xB8\xD1\x80 a"), Script::kCyrillic);
  EXPECT_EQ(script_of("1995 \xFF"), Script::kOther);
  EXPECT_EQ(script_of(""), Script::kOther);
}

TEST(script, names_all) {
  for (size_t i = 0; i < static_cast<size_t>(Script::kCount); ++i) {
    EXPECT_FALSE(name_of(static_cast<Script>(i)).empty());
  }
}

}  // namespace
}  // namespace verbatim
