#include "nn/kernels/multi_label.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "kernel_checks.h"
#include "nn/torch.h"

namespace verbatim::nn {
namespace {

TargetLists random_targets(int64_t rows, int64_t vocabulary, bool with_weights, uint64_t seed) {
  Random generator(seed);
  TargetLists targets;
  for (int64_t n = 0; n < rows; ++n) {
    const uint64_t step = 1 + generator.below(static_cast<uint64_t>(vocabulary));
    for (uint64_t id = generator.below(step); id < static_cast<uint64_t>(vocabulary); id += step) {
      targets.ids.push_back(static_cast<int32_t>(id));
      if (with_weights) targets.id_weights.push_back(0.25F + static_cast<float>(generator.below(8)));
    }
    targets.offsets.push_back(static_cast<int64_t>(targets.ids.size()));
  }
  return targets;
}

Function loss_of(bool is_plain, const TargetLists& targets, const at::Tensor& weight, double positive_weight) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? multi_label_loss_plain(in[0], in[1], targets, weight, positive_weight)
                     : multi_label_loss(in[0], in[1], targets, weight, positive_weight)};
  };
}

TEST(multi_label_loss, plain_form_is_the_weighted_binary_cross_entropy) {
  const int64_t rows = 4, vocabulary = 9, width = 3;
  const at::Tensor h = random({rows, width}, 1), head = random({vocabulary, width}, 2);
  const at::Tensor weight = at::tensor({1.0, 0.5, 0.0, 2.0}, at::kDouble);
  const TargetLists targets = random_targets(rows, vocabulary, /*with_weights=*/true, 3);
  const at::Tensor loss = multi_label_loss_plain(h, head, targets, weight, 30);
  for (int64_t n = 0; n < rows; ++n) {
    double expected = 0;
    for (int64_t v = 0; v < vocabulary; ++v) {
      double z = 0;
      for (int64_t d = 0; d < width; ++d) z += doubles(h)[n * width + d] * doubles(head)[v * width + d];
      const double activation = 1 / (1 + std::exp(-z));
      double term = -std::log(1 - activation);
      for (int64_t k = targets.offsets[n]; k < targets.offsets[n + 1]; ++k) {
        if (targets.ids[k] == v) term = -30.0 * static_cast<double>(targets.id_weights[k]) * std::log(activation);
      }
      expected += term;
    }
    EXPECT_NEAR(loss[n].item<double>(), expected * doubles(weight)[n] / static_cast<double>(vocabulary), 1e-12) << n;
  }
  expect_gradients_match_differences(loss_of(true, targets, weight, 30), {h, head});
}

TEST(multi_label_loss, fast_form_matches_plain) {
  // Several tiles, widths that are no multiple of a vector, rows that do not count, and rows with factors of their own.
  for (const int64_t vocabulary : {5, 64, 1000, 70000}) {
    for (const bool some_rows : {false, true}) {
      const int64_t rows = vocabulary == 70000 ? 150 : 90, width = 48;
      const at::Tensor h = random({rows, width}, 1), head = random({vocabulary, width}, 2) * 0.3;
      at::Tensor weight = random({rows}, 4).abs();
      if (some_rows) weight = weight.masked_fill(random({rows}, 5) > 0.3, 0);
      const TargetLists targets = random_targets(rows, vocabulary, some_rows, 3);
      const Function fast = loss_of(false, targets, weight, 100), plain = loss_of(true, targets, weight, 100);
      expect_fast_matches_plain(fast, plain, {h, head}, {at::kFloat, at::kFloat}, 2e-5);
      expect_fast_matches_plain(fast, plain, {h, head}, {at::kBFloat16, at::kFloat}, 2e-2);
      // A sum gives all rows the same factor: the gradients formed ahead are used.
      const auto sum_of = [](const Function& f) {
        return [=](const Tensors& in) -> Tensors { return {f(in)[0].sum()}; };
      };
      expect_fast_matches_plain(sum_of(fast), sum_of(plain), {h, head}, {at::kFloat, at::kFloat}, 2e-5);
    }
  }
}

TEST(multi_label_loss, survives_extreme_logits) {
  const at::Tensor h = at::ones({2, 1}).requires_grad_(true);
  const at::Tensor head = at::tensor({-200.0F, 200.0F, 0.0F, 90.0F}).view({4, 1}).requires_grad_(true);
  const TargetLists targets{.ids = {0, 1}, .offsets = {0, 1, 2}, .id_weights = {}};
  const at::Tensor loss = multi_label_loss(h, head, targets, at::ones({2}), 10);
  const double both = 200 + std::log(2.0) + 90;
  EXPECT_NEAR(loss[0].item<double>(), (10 * 200 + both) / 4, 1e-3);
  EXPECT_NEAR(loss[1].item<double>(), (std::log(2.0) + 90) / 4, 1e-4);
  loss.sum().backward();
  EXPECT_TRUE(at::isfinite(head.grad()).all().item<bool>());
}

TEST(multi_label_loss, does_not_depend_on_the_number_of_threads) {
  const TargetLists targets = random_targets(300, 3000, false, 3);
  const Function fast = loss_of(false, targets, at::ones({300}), 100);
  expect_same_bits_for_any_threads(fast, {random({300, 32}, 1).to(at::kFloat), random({3000, 32}, 2).to(at::kFloat)});
}

TEST(multi_label_loss, refuses_targets_that_do_not_fit) {
  const at::Tensor h = at::zeros({1, 2}), head = at::zeros({4, 2}), weight = at::ones({1});
  for (const TargetLists& bad : {TargetLists{.ids = {4}, .offsets = {0, 1}, .id_weights = {}},
                                 TargetLists{.ids = {-1}, .offsets = {0, 1}, .id_weights = {}},
                                 TargetLists{.ids = {2, 1}, .offsets = {0, 2}, .id_weights = {}},
                                 TargetLists{.ids = {1}, .offsets = {0}, .id_weights = {}},
                                 TargetLists{.ids = {1}, .offsets = {0, 1}, .id_weights = {1, 1}}}) {
    EXPECT_THROW((void)multi_label_loss(h, head, bad, weight, 1), InternalError);
  }
}

}  // namespace
}  // namespace verbatim::nn
