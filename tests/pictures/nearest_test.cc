#include "pictures/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace verbatim {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

void expect_row(const std::vector<NearRow>& found, const std::vector<NearRow>& expected) {
  ASSERT_THAT(found, SizeIs(expected.size()));
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].row, expected[i].row) << "place " << i;
    EXPECT_NEAR(found[i].cosine, expected[i].cosine, 1e-6) << "place " << i;
  }
}

// (1, 0), (0, 2), (3, 3), (-1, 0) and (0, 0): angles of 45, 90, 135 and 180 degrees; lengths must not matter.
TEST(nearest_rows, sorts_by_angles_known_by_hand) {
  const std::vector<float> rows = {1, 0, 0, 2, 3, 3, -1, 0, 0, 0};
  const float half = std::sqrt(0.5F);
  const auto nearest = nearest_rows(rows, 2, 10);
  ASSERT_THAT(nearest, SizeIs(5));
  expect_row(nearest[0], {{2, half}, {1, 0}, {4, 0}, {3, -1}});
  expect_row(nearest[1], {{2, half}, {0, 0}, {3, 0}, {4, 0}});
  expect_row(nearest[2], {{0, half}, {1, half}, {4, 0}, {3, -half}});
  expect_row(nearest[3], {{1, 0}, {4, 0}, {2, -half}, {0, -1}});
  expect_row(nearest[4], {{0, 0}, {1, 0}, {2, 0}, {3, 0}});
}

TEST(nearest_rows, gives_as_many_as_asked) {
  const std::vector<float> rows = {1, 0, 0, 2, 3, 3};
  EXPECT_THAT(nearest_rows(rows, 2, 1)[0], SizeIs(1));
  EXPECT_THAT(nearest_rows(rows, 2, 0)[0], IsEmpty());
}

// 600 rows at the angles of a circle, three degrees apart, each angle five times with other lengths.
TEST(nearest_rows, finds_the_same_direction_first_among_many) {
  std::vector<float> rows;
  for (int i = 0; i < 600; ++i) {
    const double angle = (i % 120) * 3 * 3.14159265358979323846 / 180;
    const double length = 1 << (i / 120);
    rows.push_back(static_cast<float>(length * std::cos(angle)));
    rows.push_back(static_cast<float>(length * std::sin(angle)));
  }
  const auto nearest = nearest_rows(rows, 2, 5);
  for (uint32_t i = 0; i < 600; ++i) {
    ASSERT_THAT(nearest[i], SizeIs(5));
    for (uint32_t k = 0; k < 4; ++k) {
      EXPECT_EQ(nearest[i][k].row % 120, i % 120);
      EXPECT_FLOAT_EQ(nearest[i][k].cosine, 1);
    }
    EXPECT_NEAR(nearest[i][4].cosine, 0.9986295, 1e-6);  // cos(3 degrees)
  }
}

TEST(nearest_rows, keeps_the_order_of_equal_rows) {
  std::vector<float> rows;
  for (int i = 0; i < 300; ++i) rows.insert(rows.end(), {0.1F, -0.7F, 0.3F, 0.9F, 0.2F});
  const auto nearest = nearest_rows(rows, 5, 3);
  expect_row(nearest[0], {{1, 1}, {2, 1}, {3, 1}});
  expect_row(nearest[299], {{0, 1}, {1, 1}, {2, 1}});
}

TEST(nearest_rows, takes_no_row_and_one_row) {
  EXPECT_THAT(nearest_rows({}, 4, 3), IsEmpty());
  const std::vector<float> one = {1, 2};
  ASSERT_THAT(nearest_rows(one, 2, 3), SizeIs(1));
  EXPECT_THAT(nearest_rows(one, 2, 3)[0], IsEmpty());
}

TEST(nearest_rows, refuses_what_is_not_finite) {
  const std::vector<float> rows = {1, NAN};
  EXPECT_THROW((void)nearest_rows(rows, 1, 1), InputError);
}

}  // namespace
}  // namespace verbatim
