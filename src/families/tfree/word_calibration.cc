#include "families/tfree/word_calibration.h"

#include <algorithm>
#include <cmath>

#include "nn/torch.h"

namespace verbatim {

namespace {

// whole, mean, delta, beta, escape_bias.
constexpr int64_t kNumbers = 5;
// Temporary values formed at once: bounds the memory.
constexpr int64_t kValuesAtOnce = int64_t{1} << 24;
// A single sample must not throw the constant of the escape far: most samples hold few words behind it.
constexpr double kLargestEscapeStep = 2;
// Steps that promise to gain less are the last ones, or need no check (nats).
constexpr double kSmallGain = 1e-4;
constexpr double kSafeGain = 0.02;
// Damping of the steps, as a share of the features' mean squares: the least, and how far it grows when a step does not
// lower the nats.
constexpr double kLeastDamping = 1e-7;
constexpr double kMostDamping = 1e4;
constexpr double kDampingFactor = 10;

at::Tensor numbers_of(const WordCalibration& calibration) {
  return at::tensor({calibration.whole, calibration.mean, calibration.delta, calibration.beta, calibration.escape_bias},
                    at::kDouble);
}

WordCalibration calibration_of(const at::Tensor& numbers) {
  const double* x = numbers.data_ptr<double>();
  return {.whole = x[0], .mean = x[1], .delta = x[2], .beta = x[3], .escape_bias = x[4]};
}

// The mean nats of the sample and their derivatives.
struct Value {
  double nats = 0;
  at::Tensor gradient;  // [5] float64
  at::Tensor hessian;   // [5, 5] float64
  at::Tensor squares;   // [5] mean squares of the features, as expected plus as they came
  at::Tensor escape_probability_R;
};

class Objective {
 public:
  explicit Objective(const CalibrationSample& sample)
      : sample_(sample),
        mean_K_(1 / sample.trigrams_K),
        // What probabilities, and those times sums, and those times squares of sums, are multiplied with.
        bias_features_K5_(at::stack({sample.trigrams_K, sample.log_prior_K, sample.trigrams_K * sample.trigrams_K,
                                     sample.trigrams_K * sample.log_prior_K, sample.log_prior_K * sample.log_prior_K},
                                    1)),
        sum_features_K5_(at::stack(
            {at::ones_like(mean_K_), mean_K_, sample.trigrams_K, sample.log_prior_K, mean_K_ * sample.log_prior_K}, 1)),
        square_features_K3_(at::stack({at::ones_like(mean_K_), mean_K_, mean_K_ * mean_K_}, 1)) {}

  [[nodiscard]] Value at(const at::Tensor& numbers, bool derivatives) const {
    const double* x = numbers.data_ptr<double>();
    const at::Tensor scale_K = x[0] + x[1] * mean_K_;
    const at::Tensor bias_K = x[2] * sample_.trigrams_K + x[3] * sample_.log_prior_K;
    const int64_t rows = sample_.sums_RK.size(0), words = sample_.sums_RK.size(1);
    const int64_t rows_at_once = std::max<int64_t>(1, kValuesAtOnce / std::max<int64_t>(words, 1));
    std::vector<at::Tensor> escape_probabilities;
    Value value{.nats = 0,
                .gradient = at::zeros({kNumbers}, at::kDouble),
                .hessian = at::zeros({kNumbers, kNumbers}, at::kDouble),
                .squares = at::zeros({kNumbers}, at::kDouble),
                .escape_probability_R = {}};
    for (int64_t begin = 0; begin < rows; begin += rows_at_once) {
      const int64_t end = std::min(rows, begin + rows_at_once);
      const at::Tensor sums_RK = sample_.sums_RK.slice(0, begin, end);
      const at::Tensor targets_R = sample_.targets_R.slice(0, begin, end);
      const at::Tensor escape_R = sample_.escape_R.slice(0, begin, end) + x[4];
      at::Tensor scores_RK = sums_RK * scale_K + bias_K;
      const at::Tensor total_R = at::logaddexp(at::logsumexp(scores_RK, 1), escape_R);
      const at::Tensor is_escape_R = targets_R.eq(words);
      const at::Tensor word_R1 = targets_R.clamp_max(words - 1).unsqueeze(1);
      const at::Tensor target_score_R = at::where(is_escape_R, escape_R, scores_RK.gather(1, word_R1).squeeze(1));
      value.nats += (total_R - target_score_R).to(at::kDouble).sum().item<double>();
      escape_probabilities.push_back(at::exp(escape_R - total_R));
      if (!derivatives) continue;
      at::Tensor weighted_RK = scores_RK.sub_(total_R.unsqueeze(1)).exp_();  // probabilities
      const auto moments = [&](const at::Tensor& features) {
        return weighted_RK.matmul(features).to(at::kCPU, at::kDouble);
      };
      const at::Tensor bias_R5 = moments(bias_features_K5_);
      weighted_RK.mul_(sums_RK);
      const at::Tensor sum_R5 = moments(sum_features_K5_);
      weighted_RK.mul_(sums_RK);
      const at::Tensor square_R3 = moments(square_features_K3_);
      const at::Tensor escape_p_R = escape_probabilities.back().to(at::kCPU, at::kDouble);
      // Means of the five features of a choice (sum, sum / n, n, log prior, is the escape) and of their products.
      const at::Tensor mean_R5 = at::stack(
          {sum_R5.select(1, 0), sum_R5.select(1, 1), bias_R5.select(1, 0), bias_R5.select(1, 1), escape_p_R}, 1);
      const at::Tensor is_word_R = is_escape_R.logical_not().to(at::kDouble).to(at::kCPU);
      const auto of_target = [&](const at::Tensor& values_R) { return values_R.to(at::kCPU, at::kDouble) * is_word_R; };
      const at::Tensor target_sum_R = of_target(sums_RK.gather(1, word_R1).squeeze(1));
      const at::Tensor word_R = word_R1.squeeze(1);
      const at::Tensor target_R5 = at::stack({target_sum_R, target_sum_R * of_target(mean_K_.index_select(0, word_R)),
                                              of_target(sample_.trigrams_K.index_select(0, word_R)),
                                              of_target(sample_.log_prior_K.index_select(0, word_R)), 1 - is_word_R},
                                             1);
      value.gradient += (mean_R5 - target_R5).sum(0);
      at::Tensor products = at::zeros({kNumbers, kNumbers}, at::kDouble);
      const auto put = [&](int64_t i, int64_t j, const at::Tensor& values_R) {
        const double sum = values_R.sum().item<double>();
        products[i][j] = sum;
        products[j][i] = sum;
      };
      put(0, 0, square_R3.select(1, 0));
      put(0, 1, square_R3.select(1, 1));
      put(1, 1, square_R3.select(1, 2));
      put(0, 2, sum_R5.select(1, 2));
      put(0, 3, sum_R5.select(1, 3));
      put(1, 2, sum_R5.select(1, 0));  // sum / n * n
      put(1, 3, sum_R5.select(1, 4));
      put(2, 2, bias_R5.select(1, 2));
      put(2, 3, bias_R5.select(1, 3));
      put(3, 3, bias_R5.select(1, 4));
      put(4, 4, escape_p_R);
      // Of the targets, too: those of what is certain not to come would vanish.
      value.squares += products.diagonal() + target_R5.square().sum(0);
      value.hessian += products - mean_R5.t().matmul(mean_R5);
    }
    const double share = 1 / static_cast<double>(rows);
    value.nats *= share;
    value.gradient *= share;
    value.hessian *= share;
    value.squares *= share;
    value.escape_probability_R = at::cat(escape_probabilities);
    return value;
  }

 private:
  const CalibrationSample& sample_;
  at::Tensor mean_K_, bias_features_K5_, sum_features_K5_, square_features_K3_;
};

// The Newton step. Where all is decided, the second derivatives vanish and the step would go anywhere; damping by the
// features' squares, which do not vanish, turns and shortens it (Levenberg and Marquardt).
at::Tensor newton_step(const Value& value, double damping) {
  return -at::linalg_solve(value.hessian + at::diag(value.squares * damping + 1e-12), value.gradient);
}

}  // namespace

CalibrationFit fit_calibration(const CalibrationSample& sample, const WordCalibration& start,
                               const CalibrationFitOptions& options) {
  const at::NoGradGuard no_grad;
  const Objective objective(sample);
  at::Tensor numbers = numbers_of(start);
  double damping = kLeastDamping;
  CalibrationFit fit{.calibration = start, .nats = 0, .escape_probability_R = {}};
  for (int i = 0; i < options.steps; ++i) {
    const Value value = objective.at(numbers, /*derivatives=*/true);
    fit.nats = value.nats;
    if (i == 0) fit.escape_probability_R = value.escape_probability_R;
    // A sample of a model that has gone astray teaches nothing.
    if (!std::isfinite(value.nats) || !value.hessian.isfinite().all().item<bool>()) break;
    double gain = 0;
    at::Tensor next;
    // Where one step needed damping, the next one needs some, too.
    damping = std::max(kLeastDamping, damping / (kDampingFactor * kDampingFactor));
    for (; damping <= kMostDamping; damping *= kDampingFactor) {
      at::Tensor step = newton_step(value, damping);
      gain = -value.gradient.dot(step).item<double>() / 2;
      double& escape = step.data_ptr<double>()[kNumbers - 1];
      const bool is_cut = std::abs(escape) > kLargestEscapeStep;
      escape = std::clamp(escape, -kLargestEscapeStep, kLargestEscapeStep);
      const at::Tensor candidate = numbers + options.fraction * step;
      if (!candidate.isfinite().all().item<bool>()) continue;
      const bool is_safe = gain < kSafeGain && !is_cut;
      if (!is_safe && !(objective.at(candidate, /*derivatives=*/false).nats <= value.nats)) continue;
      next = candidate;
      break;
    }
    if (!next.defined()) break;
    numbers = next;
    if (gain < kSmallGain && damping == kLeastDamping) break;
  }
  fit.calibration = calibration_of(numbers);
  return fit;
}

}  // namespace verbatim
