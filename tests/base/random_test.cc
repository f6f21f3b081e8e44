#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mix.h"

namespace verbatim {
namespace {

// The outputs of the authors' splitmix64.c for the seed 1234567.
constexpr std::array<uint64_t, 5> kSplitmix = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                               4593380528125082431u, 16408922859458223821u};

TEST(random, is_seeded_through_splitmix64) {
  std::string expected;
  for (int i = 0; i < 4; ++i) expected += fmt::format("{:016x}", kSplitmix[i]);
  EXPECT_EQ(Random(1234567).state(), expected);
}

TEST(mix_bits, is_the_finaliser_of_splitmix64) {
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(mix_bits(1234567 + (i + 1) * 0x9E3779B97F4A7C15), kSplitmix[i]);
}

// The outputs of the authors' xoshiro256plusplus.c for the state 1, 2, 3, 4.
TEST(random, gives_the_numbers_of_xoshiro256_plus_plus) {
  Random random = Random::from_state("0000000000000001000000000000000200000000000000030000000000000004");
  for (const uint64_t expected : {uint64_t{41943041}, uint64_t{58720359}, 3588806011781223u, 3591011842654386u,
                                  9228616714210784205u, 9973669472204895162u, 14011001112246962877u,
                                  12406186145184390807u, 15849039046786891736u, 10450023813501588000u}) {
    EXPECT_EQ(random(), expected);
  }
}

TEST(random, goes_on_exactly_after_its_state_was_saved) {
  Random random(7);
  for (int i = 0; i < 100; ++i) (void)random();
  Random copy = random;
  Random restored = Random::from_state(random.state());
  EXPECT_EQ(random, restored);
  for (int i = 0; i < 100; ++i) {
    const uint64_t expected = random();
    EXPECT_EQ(copy(), expected);
    EXPECT_EQ(restored(), expected);
  }
}

TEST(random, refuses_texts_that_are_no_state) {
  const std::string good = Random(1).state();
  ASSERT_EQ(good.size(), 64u);
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "0", std::string(64, '0'), "g" + good.substr(1), " " + good.substr(1),
        "-" + good.substr(1), "A" + good.substr(1), good.substr(0, 63) + '\0'}) {
    EXPECT_THROW((void)Random::from_state(bad), InputError) << bad;
  }
}

TEST(random, draws_uniform_numbers_below_one) {
  Random random(8);
  double sum = 0;
  double squares = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform();
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

TEST(random, draws_below_a_bound_without_bias) {
  Random random(9);
  constexpr int kDraws = 120'000;
  for (const uint64_t bound : {1u, 2u, 3u, 7u, 10u}) {
    std::vector<int> counts(bound);
    for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(bound));
    const double expected = double(kDraws) / double(bound);
    for (const int count : counts) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected) + 1e-9);
  }
  // Here a remainder instead of the retry would draw the lower half twice as often as the upper one.
  const uint64_t bound = 0xC000000000000000;
  int num_low = 0;
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t x = random.below(bound);
    ASSERT_LT(x, bound);
    if (x < bound / 3) ++num_low;
  }
  EXPECT_NEAR(num_low, kDraws / 3.0, 5 * std::sqrt(kDraws * 2.0 / 9));
  EXPECT_THROW((void)random.below(0), InternalError);
}

TEST(random, draws_standard_normal_numbers) {
  Random random(10);
  constexpr int kDraws = 100'000;
  std::array<double, 4> moments{};
  int num_within_one = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    ASSERT_TRUE(std::isfinite(x));
    for (int power = 1; power <= 4; ++power) moments[power - 1] += std::pow(x, power) / kDraws;
    if (std::abs(x) < 1) ++num_within_one;
  }
  EXPECT_NEAR(moments[0], 0, 5 * std::sqrt(1.0 / kDraws));
  EXPECT_NEAR(moments[1], 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(moments[2], 0, 5 * std::sqrt(15.0 / kDraws));
  EXPECT_NEAR(moments[3], 3, 5 * std::sqrt(96.0 / kDraws));
  EXPECT_NEAR(num_within_one, 0.682689 * kDraws, 5 * std::sqrt(0.2166 * kDraws));
}

TEST(random, hides_nothing_beside_its_state_when_drawing_normal_numbers) {
  Random random(11);
  (void)random.normal();
  Random restored = Random::from_state(random.state());
  EXPECT_EQ(restored.normal(), random.normal());
}

TEST(random, serves_as_a_generator_of_the_standard_library) {
  std::vector<int> order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::shuffle(order.begin(), order.end(), Random(12));
  EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}.begin()));
}

TEST(mix_seed, separates_seeds_and_streams) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (uint64_t stream = 0; stream < 200; ++stream) seen.insert(mix_seed(seed, stream));
  }
  EXPECT_EQ(seen.size(), 40'000u);
}

}  // namespace
}  // namespace verbatim
