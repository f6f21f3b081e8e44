#include "words/case_mapping.h"

#include <gtest/gtest.h>

#include <string>

#include "base/hash.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

// SHA-256 of what str.lower() of Python 3.11 (Unicode 14.0) gives for every character with a line feed behind it.
TEST(case_mapping, lowers_every_character_like_python) {
  std::string all;
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    all += lower_case(encode_utf8(value) + "\n");
  }
  EXPECT_EQ(sha256_hex(all), "df5f2dce2f27c6135470af16d1fb16abb665a21ddc29386b62030008b01a2429");
}

// From the same Python: 1 for characters behind which a capital sigma becomes the final one, 2 for those that are
// skipped when the letter before it is looked for.
TEST(case_mapping, finds_the_final_sigma_like_python) {
  const std::string sigma = "\u03A3", final_sigma = "\u03C2";
  std::string flags;
  for (char32_t value = 0; value < 0x110000; ++value) {
    char flag = 0;
    if (value < 0xD800 || value > 0xDFFF) {
      if (lower_case(encode_utf8(value) + sigma).ends_with(final_sigma)) {
        flag = 1;
      } else if (lower_case("a" + encode_utf8(value) + sigma).ends_with(final_sigma)) {
        flag = 2;
      }
    }
    flags += flag;
  }
  EXPECT_EQ(sha256_hex(flags), "b12e59a0e0002a8af9eec63be641415dd5a25142f82efde611fc5ca9b4616400");
  EXPECT_EQ(lower_case("ΟΔΟΣ ΟΔΟΣ'Α"), "οδος οδοσ'α");
  EXPECT_EQ(lower_case("ΑΣ\xFF"), "ας\xFF");
}

TEST(case_mapping, says_where_lengths_change) {
  std::vector<CaseShift> shifts;
  EXPECT_EQ(lower_case("aİ\u212A", shifts), "ai\u0307k");
  ASSERT_EQ(shifts.size(), 2u);
  EXPECT_EQ(shifts[0].lowered, 4u);
  EXPECT_EQ(shifts[0].original, 3u);
  EXPECT_EQ(shifts[1].lowered, 5u);
  EXPECT_EQ(shifts[1].original, 6u);
}

TEST(case_mapping, folds_only_what_keeps_its_length) {
  std::string folded;
  fold_case_in_place("Straße ÄΩς İ\u212A ẞ \xFF中A", folded);
  EXPECT_EQ(folded, "strasse äωσ İ\u212A ẞ \xFF中a");
}

}  // namespace
}  // namespace verbatim
