#include "tokenizers/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "tokenizers/byte_level.h"

namespace verbatim {
namespace {

using Words = std::vector<std::string>;

Words split(const SplitStage& stage, std::string_view text,
            PreTokenizer::Removal removal = PreTokenizer::Removal::kDrop) {
  PreTokenizer tokenizer;
  tokenizer.add(stage);
  Words words;
  tokenizer.split(text, removal, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

SplitStage at_dashes(SplitBehavior behavior, bool invert = false) {
  return {.kind = SplitStage::Kind::kLiteral, .literal = "-", .behavior = behavior, .invert = invert};
}

// The example of the original library's documentation of split behaviors.
TEST(pre_tokenizer, follows_the_documented_split_behaviors) {
  const std::string_view text = "the-final--countdown";
  EXPECT_EQ(split(at_dashes(SplitBehavior::kRemoved), text), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kIsolated), text), (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kMergedWithPrevious), text), (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kMergedWithNext), text), (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kContiguous), text), (Words{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kRemoved, /*invert=*/true), text), (Words{"-", "-", "-"}));
  EXPECT_EQ(split(at_dashes(SplitBehavior::kRemoved), text, PreTokenizer::Removal::kKeep),
            (Words{"the", "-", "final", "-", "-", "countdown"}));
}

TEST(pre_tokenizer, separates_digits_singly_or_in_runs) {
  EXPECT_EQ(split({.kind = SplitStage::Kind::kDigits}, "a12b345"), (Words{"a", "12", "b", "345"}));
  EXPECT_EQ(split({.kind = SplitStage::Kind::kDigit}, "a12\xE2\x85\xA7"), (Words{"a", "1", "2", "\xE2\x85\xA7"}));
}

TEST(pre_tokenizer, begins_a_word_at_every_marked_space) {
  EXPECT_EQ(split({.kind = SplitStage::Kind::kMetaspace}, " a  b"), (Words{"\xE2\x96\x81"
                                                                           "a",
                                                                           "\xE2\x96\x81",
                                                                           "\xE2\x96\x81"
                                                                           "b"}));
  EXPECT_EQ(split({.kind = SplitStage::Kind::kMetaspace, .split = false}, " a b"), (Words{"\xE2\x96\x81"
                                                                                          "a\xE2\x96\x81"
                                                                                          "b"}));
}

TEST(byte_level, spells_bytes_as_the_published_table_does) {
  EXPECT_EQ(to_byte_level(" a\n"),
            "\xC4\xA0"
            "a\xC4\x8A");  // U+0120, a, U+010A
  EXPECT_EQ(byte_level_character(0x00), 0x100u);
  EXPECT_EQ(byte_level_character(0x20), 0x120u);
  EXPECT_EQ(byte_level_character(0x7F), 0x121u);
  EXPECT_EQ(byte_level_character(0xA0), 0x142u);
  EXPECT_EQ(byte_level_character(0xAD), 0x143u);
  EXPECT_EQ(byte_level_character(0xFF), 0xFFu);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(from_byte_level(to_byte_level(bytes)), bytes);
  }
  EXPECT_EQ(from_byte_level("a b"), std::nullopt);
  EXPECT_EQ(from_byte_level("\xE4\xB8\xAD"), std::nullopt);
}

}  // namespace
}  // namespace verbatim
