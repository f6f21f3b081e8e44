#include "nn/kernels/dense.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernel_checks.h"
#include "nn/autograd.h"
#include "nn/kernels/adamw.h"

// Three layers of proof: the plain forms against loops written here from the formulas, their gradients against finite
// differences in double, and the fast forms against the plain ones.
namespace verbatim::nn {
namespace {

// ---- linear ----

Function linear_of(bool is_plain) {
  return [=](const Tensors& in) -> Tensors {
    const at::Tensor bias = in.size() > 2 ? in[2] : at::Tensor();
    return {is_plain ? linear_plain(in[0], in[1], bias) : nn::linear(in[0], in[1], bias)};
  };
}

TEST(linear, plain_form_is_the_sum_of_products) {
  const at::Tensor x = random({5, 7}, 1);
  const at::Tensor w = random({3, 7}, 2);
  const at::Tensor b = random({3}, 3);
  const at::Tensor y = linear_plain(x, w, b);
  for (int64_t n = 0; n < 5; ++n) {
    for (int64_t e = 0; e < 3; ++e) {
      double expected = doubles(b)[e];
      for (int64_t d = 0; d < 7; ++d) expected += doubles(x)[n * 7 + d] * doubles(w)[e * 7 + d];
      EXPECT_NEAR(y[n][e].item<double>(), expected, 1e-12);
    }
  }
}

TEST(linear, plain_gradients_match_differences) {
  expect_gradients_match_differences(linear_of(true), {random({4, 5}, 1), random({3, 5}, 2), random({3}, 3)});
}

TEST(linear, fast_form_matches_plain_for_all_shapes) {
  const std::vector<std::array<int64_t, 3>> shapes = {
      {1, 32, 16},
      {1, 8, 8},
      {33, 32, 48},
      {64, 128, 128},
      {200, 100, 60},
      {515, 96, 80},
      {300, 192, 512},
      {70, 320, 256},
      {1000, 64, 257},
      {2100, 33, 31},
      {129, 704, 128},
      {600, 544, 288},
      // deeper than what bfloat16 products take at once, forward or for the gradient of x
      {150, 2050, 70},
      {70, 600, 1500},
      {40, 1056, 33}};
  for (const auto& [rows, width, outputs] : shapes) {
    for (const bool has_bias : {false, true}) {
      Tensors inputs = {random({rows, width}, 1), random({outputs, width}, 2) / std::sqrt(static_cast<double>(width))};
      if (has_bias) inputs.push_back(random({outputs}, 3));
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(
            fmt::format("{} x {} -> {}, bias {}, type {}", rows, width, outputs, has_bias, static_cast<int>(type)));
        expect_fast_matches_plain(linear_of(false), linear_of(true), inputs, {type, at::kFloat, at::kFloat},
                                  tolerance(type));
      }
    }
  }
}

TEST(linear, weight_gradient_keeps_float32_digits) {
  // Products of these bfloat16 values are exact, and so is the reference: any rounding to bfloat16 would show.
  const at::Tensor x = random({4096, 64}, 1).to(at::kBFloat16);
  const at::Tensor w = random({96, 64}, 2).to(at::kBFloat16).to(at::kFloat).requires_grad_(true);
  const at::Tensor dy = random({4096, 96}, 3).to(at::kBFloat16);
  nn::linear(x, w).backward(dy);
  ASSERT_EQ(w.grad().scalar_type(), at::kFloat);
  const at::Tensor expected = at::mm(dy.to(at::kDouble).t(), x.to(at::kDouble));
  EXPECT_LT(largest_difference(w.grad(), expected), 1e-5);
}

TEST(linear, takes_transposed_and_cut_inputs) {
  const at::Tensor wide = random({96, 128}, 1).to(at::kBFloat16);
  const at::Tensor w = random({64, 64}, 2).to(at::kFloat);
  const at::Tensor cut = wide.narrow(1, 64, 64);
  EXPECT_TRUE(at::equal(nn::linear(cut, w), nn::linear(cut.contiguous(), w)));
  const at::Tensor turned = wide.t().narrow(0, 0, 50).narrow(1, 0, 64);
  EXPECT_TRUE(at::equal(nn::linear(turned, w), nn::linear(turned.contiguous(), w)));
}

TEST(linear, refuses_a_weight_that_does_not_fit) {
  EXPECT_THROW((void)nn::linear(at::zeros({2, 3}), at::zeros({4, 5})), InternalError);
  EXPECT_THROW((void)nn::linear(at::zeros({2, 3}), at::zeros({4, 3}), at::zeros({5})), InternalError);
}

TEST(linear, takes_no_rows) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor w = at::ones({4, 3}).requires_grad_(true);
    const at::Tensor y = nn::linear(at::zeros({0, 3}, type), w);
    EXPECT_EQ(y.sizes(), at::IntArrayRef({0, 4}));
    y.to(at::kFloat).sum().backward();
    EXPECT_TRUE(at::equal(w.grad(), at::zeros({4, 3})));
  }
}

// ---- norms ----

TEST(rms_norm, plain_form_divides_by_the_root_of_the_mean_square) {
  const at::Tensor x = random({4, 6}, 1);
  const at::Tensor gain = random({6}, 2);
  const at::Tensor y = rms_norm_plain(x, gain, 0.1, at::kDouble);
  for (int64_t n = 0; n < 4; ++n) {
    double squares = 0;
    for (int64_t d = 0; d < 6; ++d) squares += doubles(x)[n * 6 + d] * doubles(x)[n * 6 + d];
    for (int64_t d = 0; d < 6; ++d) {
      EXPECT_NEAR(y[n][d].item<double>(), doubles(x)[n * 6 + d] / std::sqrt(squares / 6 + 0.1) * doubles(gain)[d],
                  1e-12);
    }
  }
}

Function rms_norm_of(bool is_plain, at::ScalarType type) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? rms_norm_plain(in[0], in[1], 1e-3, type) : rms_norm(in[0], in[1], 1e-3, type)};
  };
}

Function add_rms_norm_of(bool is_plain, at::ScalarType type) {
  return [=](const Tensors& in) -> Tensors {
    const auto [sum, y] =
        is_plain ? add_rms_norm_plain(in[0], in[1], in[2], 1e-3, type) : add_rms_norm(in[0], in[1], in[2], 1e-3, type);
    return {sum, y};
  };
}

TEST(rms_norm, plain_gradients_match_differences) {
  expect_gradients_match_differences(rms_norm_of(true, at::kDouble), {random({3, 5}, 1), random({5}, 2)});
  expect_gradients_match_differences(add_rms_norm_of(true, at::kDouble),
                                     {random({3, 5}, 1), random({3, 5}, 2), random({5}, 3)});
}

TEST(rms_norm, fast_form_matches_plain) {
  for (const int64_t width : {1, 16, 40, 128, 200}) {
    for (const int64_t rows : {1, 70, 300}) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(fmt::format("{} x {}, type {}", rows, width, static_cast<int>(type)));
        expect_fast_matches_plain(rms_norm_of(false, type), rms_norm_of(true, at::kDouble),
                                  {random({rows, width}, 1), random({width}, 2)}, {at::kFloat, at::kFloat},
                                  tolerance(type));
        expect_fast_matches_plain(add_rms_norm_of(false, type), add_rms_norm_of(true, at::kDouble),
                                  {random({rows, width}, 1), random({rows, width}, 2), random({width}, 3)},
                                  {at::kFloat, type, at::kFloat}, tolerance(type));
      }
    }
  }
}

TEST(rms_norm, sum_alone_passes_its_gradient_on) {
  const at::Tensor residual = at::ones({2, 3}).requires_grad_(true);
  const at::Tensor delta = at::ones({2, 3}).requires_grad_(true);
  const at::Tensor gain = at::ones({3}).requires_grad_(true);
  add_rms_norm(residual, delta, gain, 1e-5, at::kFloat).first.sum().backward();
  EXPECT_TRUE(at::equal(residual.grad(), at::ones({2, 3})));
  EXPECT_TRUE(at::equal(delta.grad(), at::ones({2, 3})));
}

TEST(rms_norm, takes_no_rows) {
  const auto [sum, y] = add_rms_norm(at::zeros({0, 8}).requires_grad_(true), at::zeros({0, 8}, at::kBFloat16),
                                     at::ones({8}), 1e-5, at::kBFloat16);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({0, 8}));
  y.to(at::kFloat).sum().backward();
}

TEST(rms_norm, refuses_other_widths) {
  EXPECT_THROW((void)rms_norm(at::zeros({2, 3}), at::zeros({4}), 1e-5, at::kFloat), InternalError);
  EXPECT_THROW((void)add_rms_norm(at::zeros({2, 3}), at::zeros({3, 3}), at::zeros({3}), 1e-5, at::kFloat),
               InternalError);
}

TEST(rms_norm, fast_form_refuses_a_second_derivative) {
  const at::Tensor x = random({2, 3}, 1).to(at::kFloat).requires_grad_(true);
  const at::Tensor y = rms_norm(x, at::ones({3}), 1e-5, at::kFloat).sum();
  EXPECT_THROW((void)torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true), InternalError);
}

// ---- swiglu ----

Function swiglu_of(bool is_plain) {
  return [=](const Tensors& in) -> Tensors { return {is_plain ? swiglu_plain(in[0]) : swiglu(in[0])}; };
}

TEST(swiglu, plain_form_gates_the_second_half_by_the_first) {
  const at::Tensor x = random({3, 8}, 1);
  const at::Tensor y = swiglu_plain(x);
  for (int64_t n = 0; n < 3; ++n) {
    for (int64_t f = 0; f < 4; ++f) {
      const double gate = doubles(x)[n * 8 + f];
      EXPECT_NEAR(y[n][f].item<double>(), gate / (1 + std::exp(-gate)) * doubles(x)[n * 8 + 4 + f], 1e-12);
    }
  }
  expect_gradients_match_differences(swiglu_of(true), {x});
}

TEST(swiglu, fast_form_matches_plain) {
  for (const int64_t width : {1, 16, 43, 352}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      expect_fast_matches_plain(swiglu_of(false), swiglu_of(true), {random({37, 2 * width}, 1) * 3}, {type},
                                tolerance(type));
    }
  }
  EXPECT_EQ(swiglu(at::zeros({0, 8})).sizes(), at::IntArrayRef({0, 4}));
  EXPECT_THROW((void)swiglu(at::zeros({2, 7})), InternalError);
}

TEST(swiglu, survives_extreme_gates) {
  const at::Tensor x = at::tensor({-1e4F, 1e4F, -100.0F, 100.0F, 1.0F, 1.0F, 1.0F, 1.0F}).view({1, 8});
  const at::Tensor y = swiglu(x);
  EXPECT_EQ(y[0][0].item<float>(), 0);
  EXPECT_EQ(y[0][1].item<float>(), 1e4F);
  EXPECT_NEAR(y[0][2].item<float>(), 0, 1e-30);
  EXPECT_EQ(y[0][3].item<float>(), 100.0F);
}

// ---- silu_gate ----

Function silu_gate_of(bool is_plain) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? silu_gate_plain(in[0], in[1]) : silu_gate(in[0], in[1])};
  };
}

TEST(silu_gate, plain_form_gates_each_value) {
  const at::Tensor x = random({3, 4}, 1), gate = random({3, 4}, 2);
  const at::Tensor y = silu_gate_plain(x, gate);
  for (int64_t i = 0; i < 12; ++i) {
    const double g = doubles(gate)[i];
    EXPECT_NEAR(doubles(y)[i], doubles(x)[i] * g / (1 + std::exp(-g)), 1e-12);
  }
  expect_gradients_match_differences(silu_gate_of(true), {x, gate});
}

TEST(silu_gate, fast_form_matches_plain_also_for_columns_of_wider_matrices) {
  for (const int64_t width : {1, 16, 43, 352}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      expect_fast_matches_plain(silu_gate_of(false), silu_gate_of(true),
                                {random({37, width}, 1) * 3, random({37, width}, 2) * 3}, {type, type},
                                tolerance(type));
      const at::Tensor wide = random({37, 3 * width}, 3).to(type);
      const at::Tensor x = wide.narrow(1, 1, width), gate = wide.narrow(1, 2 * width, width);
      EXPECT_TRUE(at::equal(silu_gate(x, gate), silu_gate(x.contiguous(), gate.contiguous())));
    }
  }
  EXPECT_EQ(silu_gate(at::zeros({0, 8}), at::zeros({0, 8})).sizes(), at::IntArrayRef({0, 8}));
  EXPECT_THROW((void)silu_gate(at::zeros({2, 7}), at::zeros({2, 8})), InternalError);
}

// ---- cross_entropy ----

Function cross_entropy_of(bool is_plain, const at::Tensor& targets) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? cross_entropy_plain(in[0], targets) : cross_entropy(in[0], targets)};
  };
}

TEST(cross_entropy, plain_form_is_the_negative_log_of_the_softmax) {
  const at::Tensor logits = random({4, 5}, 1);
  const at::Tensor targets = at::tensor({3, -1, 0, 4}, at::kLong);
  const at::Tensor loss = cross_entropy_plain(logits, targets);
  for (int64_t n = 0; n < 4; ++n) {
    const int64_t target = targets[n].item<int64_t>();
    double sum = 0;
    for (int64_t v = 0; v < 5; ++v) sum += std::exp(doubles(logits)[n * 5 + v]);
    const double expected = target < 0 ? 0 : -std::log(std::exp(doubles(logits)[n * 5 + target]) / sum);
    EXPECT_NEAR(loss[n].item<double>(), expected, 1e-12);
  }
  expect_gradients_match_differences(cross_entropy_of(true, targets), {logits});
}

TEST(cross_entropy, fast_form_matches_plain) {
  for (const int64_t symbols : {1, 2, 17, 256, 259, 8000}) {
    const at::Tensor targets = random_indices({33}, -1, symbols, 5);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      expect_fast_matches_plain(cross_entropy_of(false, targets), cross_entropy_of(true, targets),
                                {random({33, symbols}, 1) * 4}, {type}, tolerance(type));
    }
  }
}

TEST(cross_entropy, large_logits_do_not_overflow) {
  const at::Tensor logits = at::tensor({1000.0F, 0.0F, -1000.0F, 1000.0F}).view({2, 2});
  const at::Tensor loss = cross_entropy(logits, at::tensor({1, 1}, at::kLong));
  EXPECT_EQ(loss[0].item<float>(), 1000);
  EXPECT_EQ(loss[1].item<float>(), 0);
}

TEST(cross_entropy, leaves_logits_alone_that_others_hold) {
  const at::Tensor weights = random({20, 30}, 1).to(at::kFloat).requires_grad_(true);
  const at::Tensor logits = weights * 2;
  const at::Tensor before = logits.detach().clone();
  const at::Tensor loss = cross_entropy(logits, random_indices({20}, 0, 30, 2)).sum();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_TRUE(at::equal(logits, before));
  const at::Tensor first = weights.grad().clone();
  loss.backward();
  EXPECT_TRUE(at::equal(weights.grad(), 2 * first));
}

TEST(cross_entropy, forms_the_gradient_in_place_of_logits_nobody_holds) {
  const at::Tensor weights = random({20, 30}, 1).to(at::kFloat).requires_grad_(true);
  at::Tensor logits = weights + 0;
  const void* storage = logits.data_ptr();
  at::Tensor gradient;
  logits.register_hook([&](const at::Tensor& g) { gradient = g; });
  const at::Tensor loss = cross_entropy(logits, random_indices({20}, 0, 30, 2)).sum();
  logits.reset();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_EQ(gradient.data_ptr(), storage);
  EXPECT_THROW(loss.backward(), InternalError);
}

TEST(cross_entropy, notices_logits_changed_after_the_loss) {
  const at::Tensor weights = random({2, 3}, 1).to(at::kFloat).requires_grad_(true);
  at::Tensor logits = weights + 0;
  const at::Tensor loss = cross_entropy(logits, at::tensor({0, 1}, at::kLong)).sum();
  {
    const at::NoGradGuard no_grad;
    logits.add_(1);
  }
  EXPECT_THROW(loss.backward(), InternalError);
}

TEST(cross_entropy, refuses_targets_out_of_range) {
  for (const int64_t target : {-2L, 5L, 1L << 40}) {
    EXPECT_THROW((void)cross_entropy(at::zeros({1, 5}), at::full({1}, target, at::kLong)), InternalError);
    EXPECT_THROW((void)cross_entropy_plain(at::zeros({1, 5}), at::full({1}, target, at::kLong)), InternalError);
  }
  EXPECT_THROW((void)cross_entropy(at::zeros({2, 5}), at::zeros({3}, at::kLong)), InternalError);
  EXPECT_EQ(cross_entropy(at::zeros({0, 5}), at::zeros({0}, at::kLong)).numel(), 0);
}

// ---- gather ----

Function gather_rows_of(bool is_plain, const at::Tensor& index) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? gather_rows_plain(in[0], index) : gather_rows(in[0], index)};
  };
}

Function gather_sum_of(bool is_plain, const at::Tensor& index) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? gather_sum_plain(in[0], index) : gather_sum(in[0], index)};
  };
}

TEST(gather, plain_forms_read_and_add_the_named_rows) {
  const at::Tensor table = random({4, 3}, 1);
  const at::Tensor index = at::tensor({0, 3, -1, 3, 3, -1, -1, -1, 2, 1, 0, 2}, at::kLong).view({4, 3});
  const at::Tensor sums = gather_sum_plain(table, index);
  const at::Tensor rows = gather_rows_plain(table, index.reshape(-1));
  for (int64_t n = 0; n < 4; ++n) {
    for (int64_t d = 0; d < 3; ++d) {
      double expected = 0;
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t row = index[n][k].item<int64_t>();
        const double value = row < 0 ? 0 : doubles(table)[row * 3 + d];
        EXPECT_EQ(rows[n * 3 + k][d].item<double>(), value);
        expected += value;
      }
      EXPECT_NEAR(sums[n][d].item<double>(), expected, 1e-12);
    }
  }
  expect_gradients_match_differences(gather_sum_of(true, index), {table});
}

TEST(gather, fast_forms_match_plain) {
  for (const int64_t width : {1, 16, 50, 128}) {
    const at::Tensor table = random({37, width}, 1);
    const at::Tensor index = random_indices({400}, -1, 37, 2);
    expect_fast_matches_plain(gather_rows_of(false, index), gather_rows_of(true, index), {table}, {at::kFloat}, 2e-5);
    const at::Tensor several = random_indices({100, 7}, -1, 37, 3);
    expect_fast_matches_plain(gather_sum_of(false, several), gather_sum_of(true, several), {table}, {at::kFloat}, 2e-5);
  }
}

Function gather_bags_of(bool is_plain, const at::Tensor& index, const at::Tensor& offsets) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? gather_bags_plain(in[0], index, offsets) : gather_bags(in[0], index, offsets)};
  };
}

TEST(gather, bags_add_lists_of_any_length) {
  const at::Tensor table = random({6, 3}, 1);
  const at::Tensor index = at::tensor({4, 4, 0, -1, 5, 2}, at::kLong);
  const at::Tensor offsets = at::tensor({0, 0, 3, 4, 6, 6}, at::kLong);
  const at::Tensor sums = gather_bags_plain(table, index, offsets);
  const std::vector<std::vector<int64_t>> lists = {{}, {4, 4, 0}, {}, {5, 2}, {}};
  for (int64_t n = 0; n < 5; ++n) {
    for (int64_t d = 0; d < 3; ++d) {
      double expected = 0;
      for (const int64_t row : lists[static_cast<size_t>(n)]) expected += doubles(table)[row * 3 + d];
      EXPECT_NEAR(sums[n][d].item<double>(), expected, 1e-12);
    }
  }
  expect_gradients_match_differences(gather_bags_of(true, index, offsets), {table});
  for (const int64_t width : {1, 16, 50, 128}) {
    const at::Tensor large = random({37, width}, 1);
    const at::Tensor many = random_indices({400}, -1, 37, 2);
    std::vector<int64_t> cuts = {0};
    for (int64_t i = 0; cuts.back() < 400; ++i) cuts.push_back(std::min<int64_t>(400, cuts.back() + i % 9));
    const at::Tensor bags = at::tensor(cuts, at::kLong);
    expect_fast_matches_plain(gather_bags_of(false, many, bags), gather_bags_of(true, many, bags), {large},
                              {at::kFloat}, 2e-5);
  }
  for (const std::vector<int64_t>& bad : {std::vector<int64_t>{0, 5}, {1, 6}, {0, 4, 3, 6}, {}}) {
    EXPECT_THROW((void)gather_bags(table, index, at::tensor(bad, at::kLong)), InternalError);
    EXPECT_THROW((void)gather_bags_plain(table, index, at::tensor(bad, at::kLong)), InternalError);
  }
}

TEST(gather, refuses_indices_out_of_range) {
  const at::Tensor table = at::zeros({5, 3});
  for (const int64_t bad : {-2L, 5L, 1L << 40}) {
    const at::Tensor index = at::full({2}, bad, at::kLong);
    EXPECT_THROW((void)gather_rows(table, index), InternalError);
    EXPECT_THROW((void)gather_rows_plain(table, index), InternalError);
    EXPECT_THROW((void)gather_sum(table, index.view({1, 2})), InternalError);
  }
  EXPECT_THROW((void)gather_rows(table, at::zeros({2}, at::kInt)), InternalError);
}

TEST(gather, takes_no_indices) {
  const at::Tensor table = at::ones({5, 3}).requires_grad_(true);
  const at::Tensor rows = gather_rows(table, at::zeros({0}, at::kLong));
  EXPECT_EQ(rows.sizes(), at::IntArrayRef({0, 3}));
  rows.sum().backward();
  EXPECT_TRUE(at::equal(table.grad(), at::zeros({5, 3})));
  EXPECT_TRUE(at::equal(gather_sum(table, at::zeros({2, 0}, at::kLong)), at::zeros({2, 3})));
}

// ---- pool_rows ----

Function pool_of(bool is_plain, const std::vector<int64_t>& offsets, Pool pool) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? pool_rows_plain(in[0], offsets, pool) : pool_rows(in[0], offsets, pool)};
  };
}

TEST(pool_rows, plain_form_takes_mean_and_maximum_of_each_range) {
  const at::Tensor x = random({9, 4}, 1);
  const std::vector<int64_t> offsets = {1, 3, 3, 4, 8};
  const at::Tensor mean = pool_rows_plain(x, offsets, Pool::kMean);
  const at::Tensor largest = pool_rows_plain(x, offsets, Pool::kMax);
  for (int64_t k = 0; k < 4; ++k) {
    for (int64_t d = 0; d < 4; ++d) {
      double sum = 0;
      double top = offsets[k] == offsets[k + 1] ? 0 : -INFINITY;
      for (int64_t n = offsets[k]; n < offsets[k + 1]; ++n) {
        sum += doubles(x)[n * 4 + d];
        top = std::max(top, doubles(x)[n * 4 + d]);
      }
      const auto length = static_cast<double>(std::max<int64_t>(1, offsets[k + 1] - offsets[k]));
      EXPECT_NEAR(mean[k][d].item<double>(), sum / length, 1e-12);
      EXPECT_EQ(largest[k][d].item<double>(), top);
    }
  }
  expect_gradients_match_differences(pool_of(true, offsets, Pool::kMean), {x});
  expect_gradients_match_differences(pool_of(true, offsets, Pool::kMax), {x});
}

TEST(pool_rows, fast_form_matches_plain) {
  const std::vector<int64_t> offsets = {0, 0, 1, 7, 7, 30, 64, 99};
  for (const int64_t width : {1, 16, 75, 128}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const Pool pool : {Pool::kMean, Pool::kMax}) {
        expect_fast_matches_plain(pool_of(false, offsets, pool), pool_of(true, offsets, pool),
                                  {random({103, width}, 1)}, {type}, tolerance(type));
      }
    }
  }
}

TEST(pool_rows, ties_give_the_gradient_to_the_first_row) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const at::Tensor x = at::tensor({1.0, 2.0, 2.0, -5.0, -5.0}, type).view({5, 1}).requires_grad_(true);
    pool_rows(x, {0, 3, 5}, Pool::kMax).sum().backward();
    EXPECT_TRUE(at::equal(x.grad().view(-1), at::tensor({0.0, 1.0, 0.0, 1.0, 0.0}, type)));
  }
}

TEST(pool_rows, nan_is_not_hidden) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const at::Tensor x = at::tensor({1.0, NAN, 2.0}, type).view({3, 1});
    EXPECT_TRUE(std::isnan(pool_rows(x, {0, 3}, Pool::kMax).item<double>()));
    EXPECT_TRUE(std::isnan(pool_rows(x, {0, 3}, Pool::kMean).item<double>()));
  }
}

TEST(pool_rows, empty_inputs_and_bad_offsets) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const Pool pool : {Pool::kMean, Pool::kMax}) {
      EXPECT_TRUE(at::equal(pool_rows(at::zeros({0, 3}, type), {0, 0, 0}, pool), at::zeros({2, 3}, type)));
      EXPECT_EQ(pool_rows(at::zeros({4, 3}, type), {0}, pool).sizes(), at::IntArrayRef({0, 3}));
      EXPECT_THROW((void)pool_rows(at::zeros({4, 3}, type), {0, 5}, pool), InternalError);
      EXPECT_THROW((void)pool_rows(at::zeros({4, 3}, type), {0, 3, 2}, pool), InternalError);
      EXPECT_THROW((void)pool_rows(at::zeros({4, 3}, type), {-1, 2}, pool), InternalError);
      EXPECT_THROW((void)pool_rows(at::zeros({4, 3}, type), {}, pool), InternalError);
    }
  }
}

// ---- threads ----

TEST(dense, results_do_not_depend_on_the_number_of_threads) {
  const int64_t rows = 1500;
  const int64_t width = 192;
  const at::Tensor x = random({rows, width}, 1).to(at::kFloat);
  const at::Tensor small = x.to(at::kBFloat16);
  const at::Tensor gain = random({width}, 2).to(at::kFloat);
  const at::Tensor weight = random({160, width}, 3).to(at::kFloat);
  const at::Tensor index = random_indices({rows, 5}, -1, 300, 4);
  std::vector<int64_t> offsets = {0};
  for (int64_t i = 0; offsets.back() < rows; ++i) offsets.push_back(std::min(rows, offsets.back() + i % 9));

  expect_same_bits_for_any_threads(linear_of(false), {small, weight, random({160}, 5).to(at::kFloat)});
  expect_same_bits_for_any_threads(linear_of(false), {x, weight, random({160}, 5).to(at::kFloat)});
  expect_same_bits_for_any_threads(rms_norm_of(false, at::kBFloat16), {x, gain});
  expect_same_bits_for_any_threads(add_rms_norm_of(false, at::kBFloat16), {x, small, gain});
  expect_same_bits_for_any_threads(swiglu_of(false), {small});
  expect_same_bits_for_any_threads(silu_gate_of(false), {small, small * 2});
  expect_same_bits_for_any_threads(cross_entropy_of(false, random_indices({rows}, -1, width, 6)), {small});
  expect_same_bits_for_any_threads(gather_sum_of(false, index), {random({300, width}, 7).to(at::kFloat)});
  expect_same_bits_for_any_threads(pool_of(false, offsets, Pool::kMean), {small});
  expect_same_bits_for_any_threads(pool_of(false, offsets, Pool::kMax), {x});
}

// ---- AdamW ----

std::vector<AdamWTensor> adamw_tensors(at::ScalarType type) {
  std::vector<AdamWTensor> tensors;
  uint64_t seed = 1;
  for (const int64_t size : {1, 33, 70000}) {
    tensors.push_back({.weight = random({size}, seed).to(type),
                       .gradient = random({size}, seed + 1).to(type),
                       .first_moment = at::zeros({size}, type),
                       .second_moment = at::zeros({size}, type),
                       .weight_decay = size == 33 ? 0.1 : 0,
                       .learning_rate_factor = size == 1 ? 1 : 0.5});
    seed += 2;
  }
  return tensors;
}

void expect_follows_the_algorithm(void (*update)(std::vector<AdamWTensor>&, const AdamWStep&), at::ScalarType type,
                                  double allowed) {
  std::vector<AdamWTensor> tensors = adamw_tensors(type);
  std::vector<double> weights(3);
  std::vector<double> first(3);
  std::vector<double> second(3);
  for (size_t i = 0; i < 3; ++i) weights[i] = tensors[i].weight[-1].item<double>();
  for (int64_t step = 1; step <= 3; ++step) {
    const AdamWStep options = {
        .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .gradient_scale = 0.25, .step = step};
    for (size_t i = 0; i < 3; ++i) {
      const double g = tensors[i].gradient[-1].item<double>() * 0.25;
      const double rate = 0.01 * tensors[i].learning_rate_factor;
      first[i] = 0.9 * first[i] + 0.1 * g;
      second[i] = 0.95 * second[i] + 0.05 * g * g;
      const double m = first[i] / (1 - std::pow(0.9, step));
      const double v = second[i] / (1 - std::pow(0.95, step));
      weights[i] -= rate * tensors[i].weight_decay * weights[i] + rate * m / (std::sqrt(v) + 1e-8);
    }
    update(tensors, options);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(tensors[i].weight[-1].item<double>(), weights[i], allowed);
      EXPECT_NEAR(tensors[i].first_moment[-1].item<double>(), first[i], allowed);
      EXPECT_NEAR(tensors[i].second_moment[-1].item<double>(), second[i], allowed);
      tensors[i].gradient.mul_(step == 1 ? -0.5 : 3.0);
    }
  }
}

TEST(adamw, follows_the_published_algorithm_for_three_steps) {
  expect_follows_the_algorithm(adamw_update_plain, at::kDouble, 1e-14);
  expect_follows_the_algorithm(adamw_update_plain, at::kFloat, 1e-6);
  expect_follows_the_algorithm(adamw_update, at::kFloat, 1e-6);
}

TEST(adamw, first_step_moves_each_weight_by_the_learning_rate) {
  // With bias correction the first direction is g / |g|.
  std::vector<AdamWTensor> tensors = {{.weight = at::tensor({1.0F, 1.0F}),
                                       .gradient = at::tensor({3.0F, -0.002F}),
                                       .first_moment = at::zeros({2}),
                                       .second_moment = at::zeros({2}),
                                       .weight_decay = 0.5}};
  adamw_update(tensors, {.learning_rate = 0.1, .step = 1});
  EXPECT_NEAR(tensors[0].weight[0].item<float>(), 1 - 0.1 * 0.5 - 0.1, 1e-6);
  EXPECT_NEAR(tensors[0].weight[1].item<float>(), 1 - 0.1 * 0.5 + 0.1, 1e-6);
}

TEST(adamw, fast_form_matches_plain_everywhere) {
  std::vector<AdamWTensor> fast = adamw_tensors(at::kFloat);
  std::vector<AdamWTensor> plain = adamw_tensors(at::kFloat);
  for (int64_t step = 1; step <= 3; ++step) {
    adamw_update(fast, {.step = step});
    adamw_update_plain(plain, {.step = step});
  }
  for (size_t i = 0; i < fast.size(); ++i) {
    EXPECT_LT(largest_difference(fast[i].weight, plain[i].weight), 1e-6);
    EXPECT_LT(largest_difference(fast[i].first_moment, plain[i].first_moment), 1e-6);
    EXPECT_LT(largest_difference(fast[i].second_moment, plain[i].second_moment), 1e-6);
  }
}

TEST(adamw, updates_and_norms_do_not_depend_on_the_number_of_threads) {
  const int before = at::get_num_threads();
  std::vector<std::vector<AdamWTensor>> results;
  std::vector<double> norms;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    results.push_back(adamw_tensors(at::kFloat));
    adamw_update(results.back(), {.step = 1});
    norms.push_back(global_norm({results.back()[0].gradient, results.back()[1].gradient, results.back()[2].gradient}));
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(at::equal(results[0][i].weight, results[1][i].weight));
  EXPECT_EQ(norms[0], norms[1]);
}

TEST(adamw, global_norm_is_the_root_of_all_squares) {
  EXPECT_DOUBLE_EQ(global_norm({at::tensor({3.0F}), at::tensor({4.0F, 12.0F})}), 13);
  EXPECT_DOUBLE_EQ(global_norm({at::full({70001}, 2.0F)}), 2 * std::sqrt(70001.0));
  EXPECT_DOUBLE_EQ(global_norm({at::tensor({3.0}, at::kDouble), at::tensor({4.0F})}), 5);
  EXPECT_EQ(global_norm({}), 0);
  EXPECT_EQ(global_norm({at::zeros({0})}), 0);
  EXPECT_TRUE(std::isnan(global_norm({at::tensor({NAN, 1.0F})})));
  // Squares beyond float32's range.
  EXPECT_NEAR(global_norm({at::full({4}, 1e30F)}) / 2e30, 1, 1e-6);
}

TEST(adamw, refuses_moments_of_another_shape) {
  std::vector<AdamWTensor> tensors = {{.weight = at::zeros({2}),
                                       .gradient = at::zeros({2}),
                                       .first_moment = at::zeros({3}),
                                       .second_moment = at::zeros({2})}};
  EXPECT_THROW(adamw_update(tensors, {}), InternalError);
  EXPECT_THROW(adamw_update_plain(tensors, {}), InternalError);
  EXPECT_THROW(adamw_update(tensors, {.step = 0}), InternalError);
}

}  // namespace
}  // namespace verbatim::nn
