#include "families/tfree/word_calibration.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/random.h"
#include "nn/torch.h"

namespace verbatim {
namespace {

constexpr WordCalibration kTruth{.whole = 0.1, .mean = 0.2, .delta = -0.4, .beta = 0.7, .escape_bias = -1.5};

// [K + 1] scores of a row by the definition, in double.
std::vector<double> scores_of(const CalibrationSample& sample, const WordCalibration& c, int64_t row) {
  std::vector<double> scores;
  for (int64_t k = 0; k < sample.sums_RK.size(1); ++k) {
    const double n = sample.trigrams_K[k].item<float>();
    scores.push_back((c.whole + c.mean / n) * sample.sums_RK[row][k].item<float>() + c.delta * n +
                     c.beta * sample.log_prior_K[k].item<float>());
  }
  scores.push_back(sample.escape_R[row].item<float>() + c.escape_bias);
  return scores;
}

double log_of_sum(const std::vector<double>& scores) {
  double sum = 0;
  for (const double score : scores) sum += std::exp(score);
  return std::log(sum);
}

double mean_nats(const CalibrationSample& sample, const WordCalibration& c) {
  const int64_t rows = sample.sums_RK.size(0);
  double nats = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<double> scores = scores_of(sample, c, r);
    nats += log_of_sum(scores) - scores[static_cast<size_t>(sample.targets_R[r].item<int64_t>())];
  }
  return nats / static_cast<double>(rows);
}

// Rows whose targets are drawn from the calibration `truth`.
CalibrationSample draw(int64_t rows, int64_t words, const WordCalibration& truth, uint64_t seed) {
  Random random(seed);
  CalibrationSample sample{.sums_RK = at::empty({rows, words}),
                           .escape_R = at::empty({rows}),
                           .targets_R = at::empty({rows}, at::kLong),
                           .trigrams_K = at::empty({words}),
                           .log_prior_K = at::empty({words})};
  for (int64_t k = 0; k < words; ++k) {
    sample.trigrams_K[k] = 1 + static_cast<double>(random.below(70)) / 10;
    sample.log_prior_K[k] = -1 - 8 * random.uniform();
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < words; ++k) {
      sample.sums_RK[r][k] = (3 * random.normal() - 4) * sample.trigrams_K[k].item<float>();
    }
    sample.escape_R[r] = random.normal();
    const std::vector<double> scores = scores_of(sample, truth, r);
    double left = random.uniform() * std::exp(log_of_sum(scores));
    int64_t target = 0;
    while (target < words && left >= std::exp(scores[static_cast<size_t>(target)])) {
      left -= std::exp(scores[static_cast<size_t>(target++)]);
    }
    sample.targets_R[r] = target;
  }
  return sample;
}

TEST(word_calibration, finds_the_numbers_that_the_rows_were_drawn_from) {
  const CalibrationSample sample = draw(1500, 20, kTruth, 1);
  const CalibrationFit fit = fit_calibration(sample, {}, {.steps = 30});
  const WordCalibration& found = fit.calibration;
  EXPECT_NEAR(found.whole, kTruth.whole, 0.03);
  EXPECT_NEAR(found.mean, kTruth.mean, 0.06);
  EXPECT_NEAR(found.delta, kTruth.delta, 0.15);
  EXPECT_NEAR(found.beta, kTruth.beta, 0.1);
  EXPECT_NEAR(found.escape_bias, kTruth.escape_bias, 0.4);
  EXPECT_LE(mean_nats(sample, found), mean_nats(sample, kTruth));
}

TEST(word_calibration, ends_at_the_minimum_from_wherever_it_starts) {
  const CalibrationSample sample = draw(300, 20, kTruth, 2);
  const CalibrationFit near = fit_calibration(sample, kTruth, {.steps = 30});
  const double lowest = mean_nats(sample, near.calibration);
  for (const double sign : {-1.0, 1.0}) {
    constexpr double kShift = 0.01;
    for (double WordCalibration::*number : {&WordCalibration::whole, &WordCalibration::mean, &WordCalibration::delta,
                                            &WordCalibration::beta, &WordCalibration::escape_bias}) {
      WordCalibration moved = near.calibration;
      moved.*number += sign * kShift;
      EXPECT_GT(mean_nats(sample, moved), lowest);
    }
  }
  for (const WordCalibration& start :
       {WordCalibration{.whole = -0.3, .delta = -5, .beta = 3, .escape_bias = 6},
        WordCalibration{.whole = 2, .mean = 2, .delta = 4, .beta = -1, .escape_bias = -12}}) {
    const CalibrationFit far = fit_calibration(sample, start, {.steps = 100});
    EXPECT_NEAR(mean_nats(sample, far.calibration), lowest, 1e-4);
  }
}

TEST(word_calibration, tells_the_nats_and_the_escapes_share_of_what_it_was_given) {
  const CalibrationSample sample = draw(50, 10, kTruth, 3);
  const CalibrationFit fit = fit_calibration(sample, kTruth, {.steps = 1});
  EXPECT_NEAR(fit.nats, mean_nats(sample, kTruth), 1e-4);
  const std::vector<double> scores = scores_of(sample, kTruth, 7);
  EXPECT_NEAR(fit.escape_probability_R[7].item<float>(), std::exp(scores.back() - log_of_sum(scores)), 1e-5);
}

TEST(word_calibration, stays_where_it_is_when_the_rows_are_no_numbers) {
  CalibrationSample sample = draw(20, 10, kTruth, 4);
  sample.sums_RK[3][3] = std::nan("");
  const CalibrationFit fit = fit_calibration(sample, kTruth, {.steps = 5});
  EXPECT_EQ(fit.calibration.whole, kTruth.whole);
  EXPECT_EQ(fit.calibration.escape_bias, kTruth.escape_bias);
}

}  // namespace
}  // namespace verbatim
