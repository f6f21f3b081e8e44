#include "pictures/neighbour_embedding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "base/error.h"
#include "pictures/groups.h"

namespace verbatim {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

double distance(const std::vector<float>& points, size_t a, size_t b) {
  return std::hypot(points[2 * a] - points[2 * b], points[2 * a + 1] - points[2 * b + 1]);
}

TEST(neighbour_embedding, keeps_groups_apart) {
  constexpr size_t kRows = 300, kGroups = 6;
  const std::vector<float> points = neighbour_embedding(grouped_rows(kRows, kGroups, 12), 12).coordinates_N2;
  ASSERT_THAT(points, SizeIs(2 * kRows));
  for (size_t i = 0; i < kRows; ++i) {
    // The 20 nearest points of each are of its own group, which has 50.
    std::vector<std::pair<double, size_t>> others;
    for (size_t j = 0; j < kRows; ++j) {
      if (j != i) others.emplace_back(distance(points, i, j), j);
    }
    std::partial_sort(others.begin(), others.begin() + 20, others.end());
    for (size_t k = 0; k < 20; ++k) EXPECT_EQ(others[k].second % kGroups, i % kGroups) << "point " << i;
  }
}

// Rows of a line in a mixed order: neighbours on the line are neighbours in the picture.
TEST(neighbour_embedding, unrolls_a_line) {
  constexpr size_t kRows = 100;
  std::vector<float> rows;
  for (size_t i = 0; i < kRows; ++i) rows.insert(rows.end(), {static_cast<float>(i * 37 % kRows), 0, 0});
  const std::vector<float> points = neighbour_embedding(rows, 3, {.perplexity = 5}).coordinates_N2;
  size_t kept = 0;
  for (size_t i = 0; i < kRows; ++i) {
    size_t nearest = i == 0 ? 1 : 0;
    for (size_t j = 0; j < kRows; ++j) {
      if (j != i && distance(points, i, j) < distance(points, i, nearest)) nearest = j;
    }
    if (std::abs(rows[3 * i] - rows[3 * nearest]) <= 2) ++kept;
  }
  EXPECT_GE(kept, 95U);
}

TEST(neighbour_embedding, gives_the_same_points_again) {
  const std::vector<float> rows = grouped_rows(120, 4, 8);
  const NeighbourEmbedding first = neighbour_embedding(rows, 8, {.iterations = 300});
  const NeighbourEmbedding second = neighbour_embedding(rows, 8, {.iterations = 300});
  EXPECT_EQ(first.coordinates_N2, second.coordinates_N2);
  EXPECT_EQ(first.divergence, second.divergence);
}

// Three rows with equal distances: every pair is as likely as any other, which an equilateral triangle reproduces
// exactly.
TEST(neighbour_embedding, makes_an_equilateral_triangle_of_one) {
  const std::vector<float> rows = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  const NeighbourEmbedding result = neighbour_embedding(rows, 3);
  const double side = distance(result.coordinates_N2, 0, 1);
  EXPECT_GT(side, 0);
  EXPECT_NEAR(distance(result.coordinates_N2, 1, 2) / side, 1, 1e-2);
  EXPECT_NEAR(distance(result.coordinates_N2, 0, 2) / side, 1, 1e-2);
  EXPECT_NEAR(result.divergence, 0, 1e-4);
}

// Factors of rows change nothing that the perplexity does not undo, also where squares would overflow or vanish.
TEST(neighbour_embedding, does_not_depend_on_the_scale) {
  const std::vector<float> rows = grouped_rows(40, 4, 5);
  for (const float factor : {0x1p-100F, 0x1p100F}) {
    std::vector<float> scaled = rows;
    for (float& value : scaled) value *= factor;
    EXPECT_EQ(neighbour_embedding(scaled, 5).coordinates_N2, neighbour_embedding(rows, 5).coordinates_N2);
  }
}

TEST(neighbour_embedding, lowers_the_perplexity_for_few_rows) {
  EXPECT_DOUBLE_EQ(neighbour_embedding(grouped_rows(31, 3, 4), 4, {.iterations = 10}).perplexity, 10);
  EXPECT_DOUBLE_EQ(neighbour_embedding(grouped_rows(91, 3, 4), 4, {.iterations = 10}).perplexity, 30);
  for (size_t count = 2; count < 12; ++count) {
    const NeighbourEmbedding result = neighbour_embedding(grouped_rows(count, 3, 4), 4);
    ASSERT_THAT(result.coordinates_N2, SizeIs(2 * count));
    EXPECT_TRUE(std::all_of(result.coordinates_N2.begin(), result.coordinates_N2.end(),
                            [](float value) { return std::isfinite(value); }))
        << count << " rows";
    EXPECT_GT(distance(result.coordinates_N2, 0, 1), 0) << count << " rows";
  }
}

TEST(neighbour_embedding, takes_no_row_and_one_row) {
  EXPECT_THAT(neighbour_embedding({}, 4).coordinates_N2, IsEmpty());
  const std::vector<float> one = {1, 2, 3, 4};
  EXPECT_THAT(neighbour_embedding(one, 4).coordinates_N2, ElementsAre(0, 0));
}

TEST(neighbour_embedding, leaves_equal_rows_together) {
  std::vector<float> equal;
  for (int i = 0; i < 60; ++i) equal.insert(equal.end(), {0.3F, 7, -2});
  const NeighbourEmbedding all = neighbour_embedding(equal, 3);
  EXPECT_THAT(all.coordinates_N2, SizeIs(120));
  EXPECT_THAT(all.coordinates_N2, Each(0.0F));

  // Every row of two groups twice.
  std::vector<float> rows = grouped_rows(60, 2, 4);
  const std::vector<float> once = rows;
  rows.insert(rows.end(), once.begin(), once.end());
  const std::vector<float> points = neighbour_embedding(rows, 4).coordinates_N2;
  const double apart = distance(points, 0, 1);
  for (size_t i = 0; i < 60; ++i) EXPECT_LT(distance(points, i, i + 60), 0.1 * apart) << "row " << i;
}

TEST(neighbour_embedding, says_how_far_it_is) {
  std::vector<int> steps;
  std::vector<double> divergences;
  const NeighbourEmbedding result =
      neighbour_embedding(grouped_rows(90, 3, 6), 6, {.iterations = 330, .progress = [&](int step, double divergence) {
                                                        steps.push_back(step);
                                                        divergences.push_back(divergence);
                                                      }});
  EXPECT_THAT(steps, ElementsAre(50, 100, 150, 200, 250, 300, 330));
  EXPECT_LT(divergences.back(), divergences.front());
  EXPECT_EQ(divergences.back(), result.divergence);
}

TEST(neighbour_embedding, ends_with_what_progress_throws) {
  EXPECT_THROW((void)neighbour_embedding(grouped_rows(30, 3, 6), 6,
                                         {.progress = [](int, double) { throw std::runtime_error("enough"); }}),
               std::runtime_error);
}

TEST(neighbour_embedding, refuses_what_it_cannot_do) {
  const std::vector<float> bad = {1, std::numeric_limits<float>::infinity()};
  EXPECT_THROW((void)neighbour_embedding(bad, 1), InputError);
  const std::vector<float> many(kMostEmbeddedRows + 1);
  EXPECT_THAT([&] { (void)neighbour_embedding(many, 1); }, ThrowsMessage<InputError>(HasSubstr("at most 5000 rows")));
  EXPECT_THROW((void)neighbour_embedding(bad, 1, {.perplexity = 0}), InputError);
}

}  // namespace
}  // namespace verbatim
