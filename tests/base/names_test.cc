#include "base/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(edit_distance, counts_insertions_deletions_replacements_and_swaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);  // the usual textbook example
  EXPECT_EQ(edit_distance("saturday", "sunday"), 3u);
  EXPECT_EQ(edit_distance("width", "widht"), 1u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);  // a swapped pair is not edited again
  EXPECT_EQ(edit_distance("a", "a"), 0u);
}

TEST(nearest_names, lists_the_nearest_first) {
  EXPECT_THAT(nearest_names("widht", {"depth", "width", "weight", "heads"}), ElementsAre("width"));
  EXPECT_THAT(nearest_names("lrr", {"lr", "lr_min", "warmup", "err"}), ElementsAre("err", "lr"));
}

TEST(nearest_names, knows_names_without_their_beginning_or_end) {
  EXPECT_THAT(nearest_names("lr_min", {"optim.lr_min_ratio", "optim.lr", "model.lr_min"}), ElementsAre("model.lr_min"));
  EXPECT_THAT(nearest_names("model", {"model.width", "optim.lr", "model.heads"}),
              ElementsAre("model.heads", "model.width"));
}

TEST(nearest_names, is_silent_when_all_names_are_far_away) {
  EXPECT_THAT(nearest_names("colour", {"width", "depth"}), IsEmpty());
  EXPECT_THAT(nearest_names("", {"width"}), IsEmpty());
  EXPECT_THAT(nearest_names("width", {}), IsEmpty());
  EXPECT_THAT(nearest_names("width", {std::string(100'000, 'w')}), IsEmpty());
}

TEST(nearest_names, lists_no_more_than_asked) {
  EXPECT_THAT(nearest_names("abcdef", {"abcdea", "abcdeb", "abcdec", "abcdex"}, 2), ElementsAre("abcdea", "abcdeb"));
}

TEST(suggest_names, makes_the_end_of_a_message) {
  EXPECT_EQ(suggest_names("widht", {"width", "depth"}), "; did you mean 'width'?");
  EXPECT_EQ(suggest_names("abcdef", {"abcdea", "abcdeb", "abcdec"}), "; did you mean 'abcdea', 'abcdeb' or 'abcdec'?");
  EXPECT_EQ(suggest_names("colour", {"width"}), "");
}

}  // namespace
}  // namespace verbatim
