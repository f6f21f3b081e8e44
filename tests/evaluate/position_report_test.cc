#include "evaluate/position_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/text_marks.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using testing::kTinyByte;
using testing::kTinyPatch;
using testing::make_model;

constexpr const char* kTwoLevels = R"(
[model]
family = "patch"
[backbone]
kind = "level"
width = 16
heads = 2
boundary = "space"
[backbone.inner]
kind = "level"
width = 16
heads = 2
boundary = "fixed:2"
[backbone.inner.inner]
kind = "transformer"
width = 16
layers = 1
heads = 2
)";

std::vector<std::string> spelled(const std::vector<TextPart>& parts, const std::string& text) {
  std::vector<std::string> result;
  for (const TextPart& part : parts) result.push_back(text.substr(part.start, part.end - part.start));
  return result;
}

Positions positions_of(LanguageModel& model, const std::string& text) {
  return model.segmenter().segment(text, DocumentPart::kStart);
}

TEST(position_report, shows_the_words_of_the_space_rule) {
  const auto model = make_model(kTinyPatch);
  const std::string text = "The cat, sat. Done";
  // A patch ends with the first byte behind a word that is no letter, digit or later byte of a character.
  EXPECT_THAT(spelled(report_patches(*model, text, positions_of(*model, text), nullptr, 1), text),
              ElementsAre("The ", "cat,", " sat.", " Done"));
}

TEST(position_report, shows_the_patches_of_each_level) {
  const auto model = make_model(kTwoLevels);
  EXPECT_EQ(count_levels(model->backbone()), 2);
  const std::string text = "one two three four five";
  const Positions positions = positions_of(*model, text);
  EXPECT_THAT(spelled(report_patches(*model, text, positions, nullptr, 1), text),
              ElementsAre("one ", "two ", "three ", "four ", "five"));
  // Rows 0, 2, 4 of the second level close: the start, then two words each.
  EXPECT_THAT(spelled(report_patches(*model, text, positions, nullptr, 2), text),
              ElementsAre("one two ", "three four ", "five"));
  EXPECT_THROW((void)report_patches(*model, text, positions, nullptr, 3), InputError);
}

TEST(position_report, shows_bytes_with_their_ids_and_boundaries) {
  const auto model = make_model(kTinyPatch);
  const std::string text = "a b";
  const std::vector<TextPart> parts = report_positions(*model, text, positions_of(*model, text), nullptr);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_THAT(parts[0].ids, ElementsAre('a'));
  EXPECT_EQ(parts[0].boundary_probability, 0.0);
  EXPECT_EQ(parts[1].boundary_probability, 1.0);
  EXPECT_EQ(parts[2].boundary_probability, 0.0);
  const auto plain = make_model(kTinyByte);
  EXPECT_FALSE(report_positions(*plain, text, positions_of(*plain, text), nullptr)[1].boundary_probability.has_value());
  EXPECT_THROW((void)report_patches(*plain, text, positions_of(*plain, text), nullptr, 1), InputError);
}

TEST(position_report, has_bits_that_sum_to_the_cost_without_the_end) {
  const std::string text = "Never mind the \xFF bytes.";
  for (const char* toml : {kTinyPatch, kTwoLevels}) {
    const auto model = make_model(toml);
    const LikelihoodOptions options{.window_bytes = 1024};
    const PositionNats scored = score_positions(*model, text, options);
    const LikelihoodResult whole = evaluate_likelihood(
        *model, 1, [&](uint64_t) { return std::string_view(text); }, options);
    const double expected = (whole.nats_total - scored.end_nats) / std::log(2.0);
    double of_positions = 0, of_patches = 0;
    for (const TextPart& part : report_positions(*model, text, scored.positions, &scored)) of_positions += *part.bits;
    for (const TextPart& part : report_patches(*model, text, scored.positions, &scored, 1)) of_patches += *part.bits;
    EXPECT_NEAR(of_positions, expected, 1e-3);
    EXPECT_NEAR(of_patches, expected, 1e-3);
  }
}

TEST(position_report, nests_levels_that_end_and_levels_that_begin) {
  // Worked out by hand. Bytes of "ab cd ef gh ij": words end behind each blank, the last one is open.
  Positions positions;
  for (uint32_t i = 1; i <= 14; ++i) positions.ends.push_back(i);
  const float no = -1;
  const LevelBoundaries words{.probability = {0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0}, .begins_patch = false};
  // The rows of words are at their last bytes; phrases begin with the words "ef " and "gh ".
  const LevelBoundaries phrases{.probability = {no, no, .1F, no, no, .2F, no, no, .9F, no, no, .7F, no, no},
                                .begins_patch = true};
  // The phrase that begins with "ef " closes a sentence.
  const LevelBoundaries sentences{.probability = {no, no, no, no, no, no, no, no, 1, no, no, 0, no, no},
                                  .begins_patch = false};
  EXPECT_THAT(patch_ends({words, phrases, sentences}, positions, "ab cd ef gh ij"),
              ElementsAre(ElementsAre(3, 6, 9, 12, 14), ElementsAre(6, 9, 14), ElementsAre(9, 14)));
}

TEST(position_report, ends_sentences_where_the_text_does) {
  // Worked out by hand. Bytes of "ab cd. ef gh ij": the words "ab ", "cd.", " ef ", "gh ", the last one is open; the
  // sentence ends behind byte 6.
  const std::string_view text = "ab cd. ef gh ij";
  Positions positions;
  for (uint32_t i = 1; i <= 15; ++i) positions.ends.push_back(i);
  const float no = -1;
  const uint8_t marks = kSentenceEnd | kParagraphEnd;
  const LevelBoundaries words{.probability = {0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0}, .marks = marks};
  const auto ends = [&](float cd, float ef, float gh) {
    const LevelBoundaries phrases{.probability = {no, no, .1F, no, no, cd, no, no, no, ef, no, no, gh, no, no},
                                  .begins_patch = true,
                                  .marks = marks};
    // A sentence ends with the first phrase that knows of its end.
    const auto closes = [&](float phrase, bool first) { return phrase <= .5F ? no : first ? 1.0F : 0.0F; };
    const LevelBoundaries sentences{
        .probability = {no, no, no, no, no, closes(cd, true), no, no, no, closes(ef, cd <= .5F), no, no,
                        closes(gh, cd <= .5F && ef <= .5F), no, no},
        .marks = marks};
    return patch_ends({words, phrases, sentences}, positions, text);
  };
  // A boundary at the word that ends the sentence: the phrase ends with it.
  EXPECT_THAT(ends(.9F, .2F, .9F),
              ElementsAre(ElementsAre(3, 6, 10, 13, 15), ElementsAre(6, 10, 15), ElementsAre(6, 15)));
  // A boundary at the word behind it: the phrase begins there, and the sentence ends before it.
  EXPECT_THAT(ends(.2F, .9F, .1F), ElementsAre(ElementsAre(3, 6, 10, 13, 15), ElementsAre(6, 15), ElementsAre(6, 15)));
  // None until two words later: the sentence takes what is in its phrase along.
  EXPECT_THAT(ends(.2F, .1F, .9F),
              ElementsAre(ElementsAre(3, 6, 10, 13, 15), ElementsAre(10, 15), ElementsAre(10, 15)));
}

TEST(position_report, of_no_text_has_levels_without_patches) {
  const LevelBoundaries none{.probability = {}, .begins_patch = true};
  EXPECT_THAT(patch_ends({none, none}, {}, ""), ElementsAre(::testing::IsEmpty(), ::testing::IsEmpty()));
  const LevelBoundaries of_another_text{.probability = {1.0F, 0.0F}, .begins_patch = true};
  EXPECT_THROW(patch_ends({of_another_text}, {}, ""), InternalError);
}

TEST(position_report, nests_levels_that_learn) {
  Positions positions;
  for (uint32_t i = 1; i <= 6; ++i) positions.ends.push_back(i);
  const LevelBoundaries first{.probability = {.2F, .6F, .1F, .9F, .5F, .8F}, .begins_patch = true};
  const LevelBoundaries second{.probability = {-1, .4F, -1, .7F, -1, .3F}, .begins_patch = true};
  EXPECT_THAT(patch_ends({first, second}, positions, "abcdef"),
              ElementsAre(ElementsAre(1, 3, 5, 6), ElementsAre(3, 6)));
}

TEST(position_report, is_empty_for_an_empty_text) {
  const auto model = make_model(kTinyPatch);
  EXPECT_TRUE(report_positions(*model, "", {}, nullptr).empty());
  EXPECT_TRUE(report_patches(*model, "", {}, nullptr, 1).empty());
}

}  // namespace
}  // namespace verbatim
