#include "pictures/principal_components.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace verbatim {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

// Around (10, -5): two rows at 2 (2, 1) to either side and two at (1, -2). The directions are orthogonal, so they are
// the components: 2 * 4 * 5 = 40 and 2 * 5 = 10 of the sum of squares 50. The second axis is turned to (-1, 2), where
// its largest loading is positive.
TEST(principal_components, solves_a_case_worked_out_by_hand) {
  const std::vector<float> rows = {14, -3, 6, -7, 11, -7, 9, -3};
  const PrincipalComponents result = principal_components(rows, 2);
  const float root = std::sqrt(5.0F);
  EXPECT_THAT(result.axes_KD, ElementsAre(FloatNear(2 / root, 1e-6F), FloatNear(1 / root, 1e-6F),
                                          FloatNear(-1 / root, 1e-6F), FloatNear(2 / root, 1e-6F)));
  EXPECT_THAT(result.coordinates_NK, ElementsAre(FloatNear(2 * root, 1e-5F), FloatNear(0, 1e-5F),
                                                 FloatNear(-2 * root, 1e-5F), FloatNear(0, 1e-5F), FloatNear(0, 1e-5F),
                                                 FloatNear(-root, 1e-5F), FloatNear(0, 1e-5F), FloatNear(root, 1e-5F)));
  ASSERT_THAT(result.shares_K, SizeIs(2));
  EXPECT_NEAR(result.shares_K[0], 0.8, 1e-12);
  EXPECT_NEAR(result.shares_K[1], 0.2, 1e-12);
}

// All eight of (+-5, +-2, +-0.5) along the orthogonal (2, 2, -1) / 3, (-1, 2, 2) / 3 and (2, -1, 2) / 3.
std::vector<float> rotated_box(int times) {
  const double axes[3][3] = {{2, 2, -1}, {-1, 2, 2}, {2, -1, 2}};
  std::vector<float> rows;
  for (int i = 0; i < 8 * times; ++i) {
    const double along[3] = {(i & 1) != 0 ? 5.0 : -5.0, (i & 2) != 0 ? 2.0 : -2.0, (i & 4) != 0 ? 0.5 : -0.5};
    for (int column = 0; column < 3; ++column) {
      double value = 100;
      for (int k = 0; k < 3; ++k) value += along[k] * axes[k][column] / 3;
      rows.push_back(static_cast<float>(value));
    }
  }
  return rows;
}

TEST(principal_components, finds_known_axes_after_a_rotation) {
  for (const int times : {1, 100}) {
    const PrincipalComponents result = principal_components(rotated_box(times), 3, 3);
    EXPECT_THAT(result.axes_KD,
                ElementsAre(FloatNear(2 / 3.0F, 1e-5F), FloatNear(2 / 3.0F, 1e-5F), FloatNear(-1 / 3.0F, 1e-5F),
                            FloatNear(-1 / 3.0F, 1e-5F), FloatNear(2 / 3.0F, 1e-5F), FloatNear(2 / 3.0F, 1e-5F),
                            FloatNear(2 / 3.0F, 1e-5F), FloatNear(-1 / 3.0F, 1e-5F), FloatNear(2 / 3.0F, 1e-5F)));
    EXPECT_NEAR(result.shares_K[0], 25 / 29.25, 1e-6);
    EXPECT_NEAR(result.shares_K[1], 4 / 29.25, 1e-6);
    EXPECT_NEAR(result.shares_K[2], 0.25 / 29.25, 1e-6);
    for (size_t i = 0; i < result.coordinates_NK.size() / 3; ++i) {
      EXPECT_NEAR(result.coordinates_NK[3 * i], (i & 1) != 0 ? 5 : -5, 1e-4);
      EXPECT_NEAR(result.coordinates_NK[3 * i + 1], (i & 2) != 0 ? 2 : -2, 1e-4);
      EXPECT_NEAR(result.coordinates_NK[3 * i + 2], (i & 4) != 0 ? 0.5 : -0.5, 1e-4);
    }
  }
}

TEST(principal_components, takes_more_columns_than_rows) {
  std::vector<float> rows(2 * 700);
  rows[3] = 3;
  rows[700 + 4] = 4;  // the rows differ by (3, -4) in columns 3 and 4: 5 apart
  const PrincipalComponents result = principal_components(rows, 700);
  EXPECT_THAT(result.coordinates_NK, ElementsAre(FloatNear(-2.5F, 1e-5F), 0.0F, FloatNear(2.5F, 1e-5F), 0.0F));
  EXPECT_NEAR(result.shares_K[0], 1, 1e-9);
  EXPECT_EQ(result.shares_K[1], 0);
}

TEST(principal_components, gives_zeros_where_nothing_differs) {
  EXPECT_THAT(principal_components({}, 3).coordinates_NK, IsEmpty());
  EXPECT_THAT(principal_components({}, 3).shares_K, ElementsAre(0, 0));
  const std::vector<float> one = {1, 2, 3};
  EXPECT_THAT(principal_components(one, 3).coordinates_NK, ElementsAre(0, 0));
  std::vector<float> equal;
  for (int i = 0; i < 50; ++i) equal.insert(equal.end(), {0.1F, 1e30F, -7.3F});
  const PrincipalComponents result = principal_components(equal, 3);
  EXPECT_THAT(result.coordinates_NK, SizeIs(100));
  EXPECT_THAT(result.coordinates_NK, Each(0.0F));
  EXPECT_THAT(result.shares_K, ElementsAre(0, 0));
}

TEST(principal_components, has_no_second_component_in_one_column) {
  const std::vector<float> rows = {1, 2, 6};
  const PrincipalComponents result = principal_components(rows, 1);
  EXPECT_THAT(result.coordinates_NK, ElementsAre(-2, 0, -1, 0, 3, 0));
  EXPECT_THAT(result.shares_K, ElementsAre(1, 0));
}

TEST(principal_components, refuses_what_is_not_finite_with_its_place) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const std::vector<float> rows = {1, 2, 3, bad};
    EXPECT_THAT([&] { (void)principal_components(rows, 2); },
                ThrowsMessage<InputError>(HasSubstr("row 1, column 1 is ")));
  }
}

}  // namespace
}  // namespace verbatim
