#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace verbatim {

// How sums of logits become scores of words. The score of word k, of n_k trigrams and prior share r_k, is
//   (whole + mean / n_k) sum_k + delta n_k + beta log r_k,
// that of the escape u h + escape_bias. `whole` weighs the sum over a word's trigrams, `mean` their mean: the more of
// them say the same thing again, the more the mean is right.
struct WordCalibration {
  double whole = 1;
  double mean = 0;
  double delta = 0;
  double beta = 1;
  double escape_bias = -3;
};

// What a calibration is fitted on: R rows of K words.
struct CalibrationSample {
  at::Tensor sums_RK;      // sum of the logits of each word's ids, float32
  at::Tensor escape_R;     // u h, float32
  at::Tensor targets_R;    // int64 in [0, K]; K is the escape
  at::Tensor trigrams_K;   // n_k, float32
  at::Tensor log_prior_K;  // float32
};

struct CalibrationFit {
  WordCalibration calibration;
  double nats = 0;                  // mean over the rows, before the last step
  at::Tensor escape_probability_R;  // of the calibration that was given
};

struct CalibrationFitOptions {
  int steps = 1;        // at most; a fit ends when steps no longer matter
  double fraction = 1;  // of each step that is taken: rows of earlier samples then count on, and fade
};

// Lowers the mean nats of the sample's targets by Newton steps. The nats are convex in the five numbers,
// so that a few steps reach the minimum from anywhere; a step that does not lower them is damped. The same input gives
// the same bits.
[[nodiscard]] CalibrationFit fit_calibration(const CalibrationSample& sample, const WordCalibration& start,
                                             const CalibrationFitOptions& options);

}  // namespace verbatim
