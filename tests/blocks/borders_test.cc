#include "blocks/borders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "blocks/blocks.h"
#include "blocks/reference/plain_blocks.h"
#include "blocks/some_texts.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<size_t> borders_of(std::u32string_view units, const BorderOptions& options) {
  BorderFinder finder(options);
  std::vector<size_t> ends;
  for (size_t i = 0; i < units.size(); ++i) {
    if (finder.ends_block(units[i]) || i + 1 == units.size()) ends.push_back(i + 1);
  }
  return ends;
}

TEST(borders, are_where_the_definition_has_them) {
  Random random(1);
  for (size_t i = 0; i < 300; ++i) {
    const auto room = static_cast<uint32_t>(1 + random.below(64));
    const auto minimum = static_cast<uint32_t>(1 + random.below(room));
    const BorderOptions options = complete_borders({.words = i % 3 == 2,
                                                    .minimum = minimum,
                                                    .maximum = room,
                                                    .spacing = static_cast<uint32_t>(1 + random.below(20)),
                                                    .window = static_cast<uint32_t>(1 + random.below(64)),
                                                    .seed = random()},
                                                   room);
    const std::u32string units = to_units(random_text(random.below(300), random));
    ASSERT_EQ(borders_of(units, options), reference::plain_borders(units, options)) << "text " << i << " of seed 1";
  }
}

TEST(borders, keep_the_minimum_and_the_maximum) {
  Random random(2);
  const std::u32string units = to_units(random_text(20000, random));
  const BorderOptions options = complete_borders({.minimum = 5}, 16);
  EXPECT_EQ(options.maximum, 16u);
  EXPECT_EQ(options.spacing, 8u);
  size_t begin = 0;
  std::map<size_t, size_t> blocks_of_length;
  for (const size_t end : borders_of(units, options)) {
    if (end < units.size()) {
      ASSERT_GE(end - begin, 5u);
    }
    ASSERT_LE(end - begin, 16u);
    ++blocks_of_length[end - begin];
    begin = end;
  }
  for (size_t length = 5; length <= 16; ++length) EXPECT_GT(blocks_of_length[length], 0u) << length;
}

TEST(borders, are_behind_words_when_asked_for) {
  const BorderOptions options = complete_borders({.words = true}, 8);
  EXPECT_EQ(options.minimum, 2u);
  const std::u32string units = U"To be, or n\u00F6t\u0308 incomprehensible (x2)\n\n\u4E2D\u6587\u3002";
  std::vector<std::u32string> blocks;
  size_t begin = 0;
  for (const size_t end : borders_of(units, options)) {
    blocks.emplace_back(units, begin, end - begin);
    begin = end;
  }
  EXPECT_EQ(blocks, (std::vector<std::u32string>{U"To ", U"be,", U" or ", U"n\u00F6t\u0308 ", U"incompre", U"hensible",
                                                 U" (", U"x2)", U"\n\n", U"\u4E2D\u6587\u3002"}));
  EXPECT_EQ(complete_borders({.words = true}, 1).minimum, 1u);
}

// A generator that writes a text block by block finds the same borders as one that has all of the text.
TEST(borders, depend_on_nothing_behind_them) {
  Random random(3);
  const BorderOptions options = complete_borders({}, 16);
  const std::u32string units = to_units(random_text(400, random));
  const std::vector<size_t> all = borders_of(units, options);
  for (size_t size = 0; size <= units.size(); ++size) {
    std::vector<size_t> expected;
    for (const size_t end : all) {
      if (end < size) expected.push_back(end);
    }
    if (size > 0) expected.push_back(size);
    ASSERT_EQ(borders_of(std::u32string_view(units).substr(0, size), options), expected);
  }
}

using Counts = std::map<std::string, int>;

Counts count_blocks(const BlockCoder& coder, std::string_view text) {
  Blocks blocks;
  coder.encode(text, blocks);
  Counts counts;
  for (size_t i = 0; i < blocks.size(); ++i) {
    // With the length, so that padding never makes two blocks alike.
    ++counts[blocks.bytes.substr(i * coder.block_bytes(), blocks.lengths[i])];
  }
  return counts;
}

// The share of the blocks of a text that are still there after one character has come in at a random place.
double kept_after_insertions(const BlockCoder& coder, const std::string& text, size_t insertions, Random& random) {
  const Counts before = count_blocks(coder, text);
  double kept = 0, all = 0;
  for (size_t i = 0; i < insertions; ++i) {
    std::string edited = text;
    const size_t place = utf8_boundary_before(text, random.below(text.size() + 1));
    edited.insert(place, encode_utf8(static_cast<char32_t>('a' + random.below(26))));
    const Counts after = count_blocks(coder, edited);
    for (const auto& [block, count] : before) {
      const auto found = after.find(block);
      kept += found == after.end() ? 0 : std::min(count, found->second);
      all += count;
    }
  }
  return kept / all;
}

TEST(borders, by_content_keep_nine_of_ten_blocks_after_an_insertion) {
  const std::filesystem::path folder = std::filesystem::path(VERBATIM_SHARED) / "data/corpora";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  Random random(4);
  for (const char* language : {"en_prose", "de", "ru", "ar", "hi", "zh", "ja", "ko", "vi"}) {
    std::string text = read_file(folder / (std::string(language) + ".valid.txt"));
    text = text.substr(0, utf8_boundary_before(text, 8000));
    for (const char* chain : {"4x4", "4x4x4", "4x16", "4x64"}) {
      const BlockCoder by_content({.chain = parse_chain(chain), .borders = BorderOptions{}});
      EXPECT_GE(kept_after_insertions(by_content, text, 30, random), 0.9) << language << " " << chain;
    }
    // Fixed blocks lose all that follow: half of them on average.
    const BlockCoder fixed({.chain = parse_chain("4x4x4")});
    EXPECT_LT(kept_after_insertions(fixed, text, 30, random), 0.75) << language;
  }
}

TEST(borders, by_content_come_back_soon_after_any_edit) {
  Random random(5);
  const BlockCoder coder({.borders = BorderOptions{}});
  for (size_t i = 0; i < 50; ++i) {
    // Letters and blanks without any structure.
    std::string text;
    while (text.size() < 4000) text += "etaoin shrdlu"[random.below(13)];
    EXPECT_GE(kept_after_insertions(coder, text, 4, random), 0.97);
  }
}

TEST(borders, refuse_limits_that_no_block_can_keep) {
  EXPECT_THAT([] { (void)complete_borders({.minimum = 9, .maximum = 8}, 16); },
              ThrowsMessage<InputError>(HasSubstr("minimum is 9")));
  EXPECT_THAT([] { (void)complete_borders({.maximum = 17}, 16); }, ThrowsMessage<InputError>(HasSubstr("room for 16")));
  EXPECT_THAT([] { (void)complete_borders({.window = 65}, 16); }, ThrowsMessage<InputError>(HasSubstr("1 to 64")));
  EXPECT_THAT([] { (void)complete_borders({.window = 0}, 16); }, ThrowsMessage<InputError>(HasSubstr("1 to 64")));
  const BorderOptions smallest = complete_borders({}, 1);
  EXPECT_EQ(smallest.minimum, 1u);
  EXPECT_EQ(smallest.spacing, 1u);
}

}  // namespace
}  // namespace verbatim
