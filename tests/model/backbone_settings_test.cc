#include "model/backbone_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace verbatim {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(layer_pattern, counts_letters) {
  EXPECT_EQ(parse_layer_pattern("m4T1", "x"), "mmmmT");
  EXPECT_EQ(parse_layer_pattern("tS2", "x"), "tSS");
  EXPECT_EQ(parse_layer_pattern("", "x"), "");
}

TEST(layer_pattern, refuses_what_it_does_not_know) {
  for (const char* wrong : {"4m", "m0", "x1", "m-1", "m 1", "m99999999999999999999", "m1025", "M4,T1"})
    EXPECT_THROW((void)parse_layer_pattern(wrong, "x"), InputError) << wrong;
}

BackboneSettings two_learned_levels() {
  BackboneSettings outer;
  outer.kind = "level";
  outer.boundary = "learned";
  outer.target = 3;
  outer.stack.width = 1024;
  outer.inner.push_back(outer);
  outer.inner.front().inner.emplace_back();
  outer.inner.front().inner.front().stack.width = 1536;
  return outer;
}

// H-Net's rule by hand: sqrt(4.6 * 1536 / 1024), sqrt(4.6 / 3 * 1536 / 1024), sqrt(4.6 / 9).
TEST(learning_rate_factors, follow_the_rule_of_hnet) {
  BackboneSettings settings = two_learned_levels();
  EXPECT_THAT(settings.learning_rate_factors(),
              ElementsAre(DoubleNear(2.62679, 1e-5), DoubleNear(1.51658, 1e-5), DoubleNear(0.71492, 1e-5)));
  settings.inner.front().learning_rate_factor = 1.25;
  EXPECT_DOUBLE_EQ(settings.learning_rate_factors()[1], 1.25);
}

TEST(learning_rate_factors, are_one_without_learned_boundaries) {
  BackboneSettings settings = two_learned_levels();
  settings.boundary = settings.inner.front().boundary = "space";
  EXPECT_THAT(settings.learning_rate_factors(), ElementsAre(1, 1, 1));
}

}  // namespace
}  // namespace verbatim
