#include "blocks/reconstruction.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "blocks/augmentation.h"
#include "blocks/golden.h"

namespace verbatim {
namespace {

TEST(reconstruction, has_the_values_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  const std::map<std::string, std::string> texts = golden::texts();
  size_t cases = 0;
  for (const golden::Json& row : golden::read_lines("metrics.jsonl")) {
    const std::string target = golden::from_hex(row["target"]);
    const std::string predicted = golden::from_hex(row["predicted"]);
    const std::string where = row["id"].get<std::string>() + " " + row["kind"].get<std::string>();
    const auto expect = [&](const char* name, double value) {
      EXPECT_DOUBLE_EQ(value, row[name].get<double>()) << where << " " << name;
    };
    expect("byte_accuracy", group_accuracy(target, predicted, 1).value());
    expect("character_accuracy", group_accuracy(target, predicted, 4).value());
    expect("token_accuracy_16", group_accuracy(target, predicted, 16).value());
    expect("token_accuracy_64", group_accuracy(target, predicted, 64).value());

    const std::string& text = texts.at(row["id"]);
    // The same whatever the blocks are, since no padding counts.
    for (const char* chain : {"1", "4", "4x4", "4x4x4"}) {
      Blocks blocks;
      BlockCoder({.chain = parse_chain(chain)}).encode(text, blocks);
      const Reconstruction result =
          measure_reconstruction(blocks, std::string_view(predicted).substr(0, blocks.bytes.size()));
      expect("byte_accuracy_no_padding", result.byte.value());
      expect("character_accuracy_no_padding", result.character.value());
      if (row["kind"] == "all_zero") {
        EXPECT_EQ(result.zero_byte.right, result.byte.right) << where;
        EXPECT_EQ(result.zero_character.right, result.character.right) << where;
      }
      EXPECT_EQ(result.character.all, to_units(text).size()) << where;
      EXPECT_EQ(result.block.all, blocks.size()) << where;
    }
    expect("text_score_stripped", text_score(to_units(text), to_units(published_text(predicted))));
    std::string unstripped;
    (void)append_text(predicted, Escapes::kReplace, unstripped);
    expect("text_score_unstripped", text_score(to_units(text), to_units(unstripped)));
    ++cases;
  }
  EXPECT_EQ(cases, 45u);
}

TEST(reconstruction, counts_blocks_without_their_padding) {
  Blocks blocks;
  BlockCoder({.chain = parse_chain("4x4")}).encode("seven b", blocks);
  std::string predicted = blocks.bytes;
  predicted[31] = 'x';  // padding
  Reconstruction result = measure_reconstruction(blocks, predicted);
  EXPECT_EQ(result.block.right, 2u);
  EXPECT_EQ(result.byte.all, 28u);
  predicted[27] = 'x';  // the low byte of the last character
  result += measure_reconstruction(blocks, predicted);
  EXPECT_EQ(result.block.right, 3u);
  EXPECT_EQ(result.block.all, 4u);
  EXPECT_EQ(result.character.right, 13u);
  EXPECT_EQ(result.byte.right, 55u);
  EXPECT_EQ(result.zero_byte.right, 42u);
  EXPECT_EQ(Reconstruction{}.byte.value(), 0);
  EXPECT_EQ(measure_reconstruction({}, "").byte.all, 0u);
}

// What byte accuracy hides: the figures of constant and half-blind predictors on uniform code points in [0, 0x40000),
// by the expectations of the specification, section 4.4.
TEST(reconstruction, of_half_blind_predictors_is_what_expectation_says) {
  Random random(1);
  std::u32string units;
  append_random_units(400'000, RandomUnits::kPublished, random, units);
  Blocks blocks;
  BlockCoder({.chain = parse_chain("4x4x4")}).encode(units, blocks);

  Reconstruction result = measure_reconstruction(blocks, std::string(blocks.bytes.size(), '\0'));
  EXPECT_NEAR(result.byte.value(), 0.3145, 5e-4);
  EXPECT_EQ(result.byte.value(), result.zero_byte.value());
  EXPECT_LT(result.character.value(), 1e-4);

  std::string low_bytes_lost = blocks.bytes;
  std::string one_byte_lost = blocks.bytes;
  for (size_t i = 0; i < blocks.bytes.size(); i += 4) {
    low_bytes_lost[i + 2] = low_bytes_lost[i + 3] = '\0';
    one_byte_lost[i + 3] = '\0';
  }
  EXPECT_NEAR(measure_reconstruction(blocks, low_bytes_lost).byte.value(), 0.5020, 5e-4);
  result = measure_reconstruction(blocks, one_byte_lost);
  EXPECT_NEAR(result.byte.value(), 0.7510, 5e-4);
  EXPECT_NEAR(result.character.value(), 1.0 / 256, 5e-4);
  EXPECT_EQ(result.block.right, 0u);
}

TEST(reconstruction, scores_texts_as_published) {
  EXPECT_DOUBLE_EQ(text_score(U"abcd", U"abxd"), 0.75);
  EXPECT_DOUBLE_EQ(text_score(U"abcd", U"abcdefgh"), 1);  // what is too much costs nothing
  EXPECT_DOUBLE_EQ(text_score(U"abcd", U"xabcd"), 0);     // and a shift costs all
  EXPECT_DOUBLE_EQ(text_score(U"abcd", U"ab"), 0.5);
  EXPECT_DOUBLE_EQ(text_score(U"", U"ab"), 0);
  EXPECT_DOUBLE_EQ(overlap_score(U"aabbcc", U"cbxyz"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(overlap_score(U"", U"a"), 0);
}

TEST(reconstruction, needs_as_many_predicted_bytes) {
  EXPECT_THROW((void)group_accuracy("12345678", "1234", 4), InternalError);
  EXPECT_THROW((void)group_accuracy("123456", "123456", 4), InternalError);
  Blocks blocks;
  BlockCoder({}).encode("a", blocks);
  EXPECT_THROW((void)measure_reconstruction(blocks, "1"), InternalError);
}

}  // namespace
}  // namespace verbatim
