#include "train/boundary_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace verbatim {
namespace {

using ::testing::HasSubstr;

// A level with a boundary at every `every`-th row of "ab ab ab ..." and probability 0.75 there, 0.25 elsewhere.
LevelNotes level(size_t rows, size_t every, double target) {
  LevelNotes notes;
  for (size_t row = 0; row < rows; ++row) {
    notes.boundary.push_back(row % every == 0 ? 1 : 0);
    notes.probability.push_back(row % every == 0 ? 0.75F : 0.25F);
    notes.symbols.push_back(row % 3 == 2 ? ' ' : 'a');
  }
  notes.target = target;
  return notes;
}

TEST(boundary_statistics, counts_what_levels_do) {
  BoundaryStatistics statistics;
  statistics.add({level(12, 3, 4), level(4, 2, 2)});
  const auto list = statistics.figures();
  const std::map<std::string, double> figures(list.begin(), list.end());
  EXPECT_DOUBLE_EQ(figures.at("chunk/level1/mean_bytes"), 3);
  EXPECT_DOUBLE_EQ(figures.at("chunk/level1/ratio_to_target"), 0.75);
  EXPECT_DOUBLE_EQ(figures.at("chunk/level2/mean_bytes"), 6);
  EXPECT_DOUBLE_EQ(figures.at("chunk/level2/rows_per_patch"), 2);
  EXPECT_DOUBLE_EQ(figures.at("chunk/level2/mean_probability"), 0.5);
  // Rows 0, 3, 6, 9 of level 1: all but the first stand behind a blank.
  EXPECT_DOUBLE_EQ(figures.at("chunk/level1/at_spaces"), 0.75);
  EXPECT_THAT(statistics.summary(), HasSubstr("3.0 rows per patch (target 4, 75 % at spaces), then 2.0"));
  EXPECT_TRUE(statistics.collapses().empty());
}

TEST(boundary_statistics, tells_when_a_level_does_not_choose_any_more) {
  BoundaryStatistics all, none, rule;
  all.add({level(100, 1, 4)});
  ASSERT_EQ(all.collapses().size(), 1U);
  EXPECT_THAT(all.collapses().front(), HasSubstr("nearly every row"));
  none.add({level(100, 100, 4)});
  ASSERT_EQ(none.collapses().size(), 1U);
  EXPECT_THAT(none.collapses().front(), HasSubstr("hardly cuts"));
  rule.add({level(100, 1, 0)});  // no target: a rule cuts, which cannot collapse
  EXPECT_TRUE(rule.collapses().empty());
  EXPECT_TRUE(rule.figures().empty());
}

}  // namespace
}  // namespace verbatim
