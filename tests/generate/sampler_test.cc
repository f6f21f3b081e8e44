#include "generate/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;

constexpr SamplingOptions kPlain{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};

// Scores whose softmax is the given distribution, moved by a constant: scores need no normalisation.
std::vector<float> scores_of(const std::vector<double>& probabilities) {
  std::vector<float> scores;
  for (const double p : probabilities) scores.push_back(static_cast<float>(std::log(p) + 3));
  return scores;
}

void expect_candidates(const std::vector<Candidate>& candidates, const std::vector<Candidate>& expected) {
  ASSERT_EQ(candidates.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(candidates[i].index, expected[i].index) << "candidate " << i;
    EXPECT_NEAR(candidates[i].probability, expected[i].probability, 1e-6) << "candidate " << i;
  }
}

TEST(candidates, are_the_softmax_of_the_scores_without_filters) {
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), kPlain),
                    {{1, 0.5}, {3, 0.25}, {2, 0.15}, {0, 0.1}});
}

TEST(candidates, are_cut_by_top_k_and_share_its_probability) {
  SamplingOptions options = kPlain;
  options.top_k = 2;
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options), {{1, 2.0 / 3}, {3, 1.0 / 3}});
}

TEST(candidates, are_the_fewest_that_reach_top_p) {
  SamplingOptions options = kPlain;
  options.top_p = 0.7;  // 0.5 is less, 0.5 + 0.25 is enough
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options), {{1, 2.0 / 3}, {3, 1.0 / 3}});
  options.top_p = 0.4;
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options), {{1, 1}});
}

TEST(candidates, reach_at_least_min_p_of_the_most_likely_one) {
  SamplingOptions options = kPlain;
  options.min_p = 0.4;  // 0.4 * 0.5 = 0.2
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options), {{1, 2.0 / 3}, {3, 1.0 / 3}});
}

TEST(candidates, count_top_p_within_what_top_k_left) {
  SamplingOptions options = kPlain;
  options.top_k = 3;     // 0.5, 0.25, 0.15 become 5/9, 2.5/9, 1.5/9
  options.top_p = 0.80;  // 7.5/9 = 0.833 is enough
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options), {{1, 2.0 / 3}, {3, 1.0 / 3}});
}

TEST(candidates, are_sharpened_by_temperature_after_the_filters) {
  SamplingOptions options = kPlain;
  options.temperature = 0.5;  // probabilities squared: 0.25, 0.0625, 0.0225, 0.01
  const double total = 0.25 + 0.0625 + 0.0225 + 0.01;
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options),
                    {{1, 0.25 / total}, {3, 0.0625 / total}, {2, 0.0225 / total}, {0, 0.01 / total}});
  options.min_p = 0.25;  // of 0.5 at temperature 1: 0.125 keeps three
  const double kept = 0.25 + 0.0625 + 0.0225;
  expect_candidates(candidates_of(scores_of({0.1, 0.5, 0.15, 0.25}), options),
                    {{1, 0.25 / kept}, {3, 0.0625 / kept}, {2, 0.0225 / kept}});
}

TEST(candidates, prefer_the_lowest_index_among_equals) {
  const std::vector<float> scores{1, 2, 2, 2};
  expect_candidates(candidates_of(scores, {.temperature = 0}), {{1, 1}});
  SamplingOptions options = kPlain;
  options.top_k = 2;
  expect_candidates(candidates_of(scores, options), {{1, 0.5}, {2, 0.5}});
}

TEST(candidates, never_have_a_score_of_minus_infinity) {
  const float never = -std::numeric_limits<float>::infinity();
  expect_candidates(candidates_of(std::vector<float>{never, 0, never, 0}, kPlain), {{1, 0.5}, {3, 0.5}});
}

TEST(candidates, do_not_come_from_broken_scores) {
  const float never = -std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW((void)candidates_of(std::vector<float>{never, never}, kPlain), InternalError);
  EXPECT_THROW((void)candidates_of(std::vector<float>{0, nan}, kPlain), InternalError);
  EXPECT_THROW((void)candidates_of(std::vector<float>{}, kPlain), InternalError);
}

TEST(repetition_penalty, divides_positive_scores_and_multiplies_negative_ones_once) {
  std::vector<float> scores{2, -1, 0.5F, 4};
  penalise_repetition(scores, std::vector<int64_t>{0, 1, 1, 99}, 2);
  EXPECT_THAT(scores, ElementsAre(1, -2, 0.5F, 4));
}

TEST(sampler, draws_with_the_probabilities_of_the_candidates) {
  const std::vector<double> probabilities{0.1, 0.5, 0.15, 0.25};
  Sampler sampler({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 11});
  std::map<int64_t, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> scores = scores_of(probabilities);
    ++counts[sampler.choose(scores)];
  }
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double p = probabilities[i];
    EXPECT_NEAR(counts[static_cast<int64_t>(i)], p * kDraws, 5 * std::sqrt(kDraws * p * (1 - p))) << i;
  }
}

TEST(sampler, repeats_itself_for_a_seed_and_forks_by_copying) {
  const std::vector<float> flat(50, 0);
  const auto choices = [&](Sampler& sampler) {
    std::vector<int64_t> result;
    for (int i = 0; i < 20; ++i) {
      std::vector<float> scores = flat;
      result.push_back(sampler.choose(scores));
    }
    return result;
  };
  const SamplingOptions options{.temperature = 1, .top_k = 0, .top_p = 1, .seed = 5};
  Sampler a(options), b(options), other_stream(options, 1);
  const std::vector<int64_t> first = choices(a);
  EXPECT_EQ(choices(b), first);
  EXPECT_NE(choices(other_stream), first);
  Sampler fork = a;
  EXPECT_EQ(choices(fork), choices(a));
}

TEST(sampler, forgets_choices_behind_the_window) {
  // Greedy with a strong penalty: the best score is taken, then avoided for as long as it is remembered.
  Sampler sampler({.temperature = 0, .repetition_penalty = 100, .repetition_window = 2});
  std::vector<int64_t> choices;
  for (int i = 0; i < 6; ++i) {
    std::vector<float> scores{3, 2, 1};
    choices.push_back(sampler.choose(scores));
  }
  EXPECT_THAT(choices, ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(sampler, refuses_options_that_make_no_sense) {
  EXPECT_THROW(Sampler({.temperature = -1}), InputError);
  EXPECT_THROW(Sampler({.top_k = -1}), InputError);
  EXPECT_THROW(Sampler({.top_p = 0}), InputError);
  EXPECT_THROW(Sampler({.min_p = 1.5}), InputError);
  EXPECT_THROW(Sampler({.repetition_penalty = 0}), InputError);
  EXPECT_THROW(Sampler({.temperature = std::numeric_limits<double>::quiet_NaN()}), InputError);
}

}  // namespace
}  // namespace verbatim
