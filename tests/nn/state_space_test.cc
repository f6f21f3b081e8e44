#include "nn/kernels/state_space.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernel_checks.h"
#include "nn/state_space_rows.h"
#include "nn/torch.h"

// Four layers of proof: the plain forms against loops written here from the formulas, their gradients against finite
// differences in double, the fast forms against the plain ones, the stepwise twins against the plain ones.
namespace verbatim::nn {
namespace {

Sequences of_lengths(const std::vector<int64_t>& lengths) {
  Sequences sequences;
  for (const int64_t length : lengths) sequences.offsets.push_back(sequences.offsets.back() + length);
  return sequences;
}

// Around the lengths at which the fast forms cut sequences, and none at all.
const std::vector<std::vector<int64_t>> kLengths = {{},       {0, 0},      {1}, {2, 1, 3}, {63, 0}, {1, 2, 63, 64, 65},
                                                    {200, 5}, {129, 1, 97}};

std::string name_of(const std::vector<int64_t>& lengths) { return fmt::format("lengths {}", fmt::join(lengths, " ")); }

// The type of the activations and, at the places in `floats`, float32: parameters.
std::vector<at::ScalarType> types_with(at::ScalarType type, size_t count, const std::vector<size_t>& floats) {
  std::vector<at::ScalarType> types(count, type);
  for (const size_t i : floats) types[i] = at::kFloat;
  return types;
}

const std::vector<at::ScalarType> kTypes = {at::kFloat, at::kBFloat16};

// Without rows the plain forms have nothing to differentiate: the fast ones must give no rows and gradients of zero.
void expect_forms_agree(const Function& fast, const Function& plain, const Tensors& inputs,
                        const std::vector<at::ScalarType>& types) {
  if (inputs[0].size(0) > 0) return expect_fast_matches_plain(fast, plain, inputs, types, tolerance(types[0]));
  Tensors given;
  for (size_t i = 0; i < inputs.size(); ++i) given.push_back(inputs[i].to(types[i]));
  EXPECT_EQ(plain(given)[0].sizes(), given[0].sizes());
  const Outcome got = run(fast, given);
  EXPECT_EQ(got.values[0].sizes(), given[0].sizes());
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(at::equal(got.gradients[i], at::zeros_like(given[i]))) << "gradient " << i;
  }
}

double silu(double x) { return x / (1 + std::exp(-x)); }
double softplus(double x) { return std::log1p(std::exp(x)); }

// ---- causal_convolution ----

Function convolution_of(bool is_plain, const Sequences& sequences) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? causal_convolution_plain(in[0], in[1], in[2], sequences)
                     : causal_convolution(in[0], in[1], in[2], sequences)};
  };
}

Tensors convolution_inputs(int64_t rows, int64_t channels, int64_t kernel_width) {
  return {random({rows, channels}, 1), random({channels, kernel_width}, 2), random({channels}, 3)};
}

TEST(causal_convolution, plain_form_is_the_weighted_sum_of_the_last_rows) {
  const Sequences sequences = of_lengths({3, 1, 6});
  const int64_t channels = 3, width = 4;
  const Tensors in = convolution_inputs(sequences.rows(), channels, width);
  const at::Tensor y = causal_convolution_plain(in[0], in[1], in[2], sequences);
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t t = 0; t < sequences.length(s); ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        double sum = doubles(in[2])[c];
        for (int64_t k = 0; k < width; ++k) {
          const int64_t from = t - (width - 1) + k;
          if (from < 0) continue;
          sum += doubles(in[1])[c * width + k] * doubles(in[0])[(sequences.offsets[s] + from) * channels + c];
        }
        EXPECT_NEAR(y[sequences.offsets[s] + t][c].item<double>(), silu(sum), 1e-12);
      }
    }
  }
}

TEST(causal_convolution, plain_gradients_match_differences) {
  const Sequences sequences = of_lengths({3, 0, 1, 5});
  expect_gradients_match_differences(convolution_of(true, sequences), convolution_inputs(9, 3, 4));
}

TEST(causal_convolution, fast_form_matches_plain) {
  for (const std::vector<int64_t>& lengths : kLengths) {
    const Sequences sequences = of_lengths(lengths);
    for (const auto& [channels, width] : {std::pair{48, 4}, {19, 4}, {32, 1}, {5, 7}}) {
      for (const at::ScalarType type : kTypes) {
        SCOPED_TRACE(fmt::format("{}, {} channels, kernel {}", name_of(lengths), channels, width));
        expect_forms_agree(convolution_of(false, sequences), convolution_of(true, sequences),
                           convolution_inputs(sequences.rows(), channels, width), types_with(type, 3, {1, 2}));
      }
    }
  }
}

// ---- selective_scan ----

Function scan_of(bool is_plain, const Sequences& sequences) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? selective_scan_plain(in[0], in[1], in[2], in[3], in[4], in[5], sequences)
                     : selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], sequences)};
  };
}

// Steps and decays of the size that training starts from: delta around 0.05, rates from 1 to S.
Tensors scan_inputs(int64_t rows, int64_t channels, int64_t state) {
  const at::Tensor rates = at::arange(1, state + 1, at::kDouble).expand({channels, state});
  return {random({rows, channels}, 1),
          random({rows, channels}, 2) * 1.5 - 3,
          at::log(rates) + 0.3 * random({channels, state}, 3),
          random({rows, state}, 4),
          random({rows, state}, 5),
          random({channels}, 6)};
}

TEST(selective_scan, plain_form_is_the_recurrence) {
  const Sequences sequences = of_lengths({4, 1, 7});
  const int64_t channels = 3, state = 2;
  const Tensors in = scan_inputs(sequences.rows(), channels, state);
  const at::Tensor y = selective_scan_plain(in[0], in[1], in[2], in[3], in[4], in[5], sequences);
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t i = 0; i < channels; ++i) {
      std::vector<double> h(state);
      for (int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
        const double x = doubles(in[0])[t * channels + i], delta = softplus(doubles(in[1])[t * channels + i]);
        double expected = doubles(in[5])[i] * x;
        for (int64_t n = 0; n < state; ++n) {
          const double decay = std::exp(-delta * std::exp(doubles(in[2])[i * state + n]));
          h[n] = decay * h[n] + delta * doubles(in[3])[t * state + n] * x;
          expected += doubles(in[4])[t * state + n] * h[n];
        }
        EXPECT_NEAR(y[t][i].item<double>(), expected, 1e-12);
      }
    }
  }
}

TEST(selective_scan, plain_gradients_match_differences) {
  const Sequences sequences = of_lengths({3, 0, 1, 5});
  expect_gradients_match_differences(scan_of(true, sequences), scan_inputs(9, 3, 2));
}

TEST(selective_scan, fast_form_matches_plain) {
  for (const std::vector<int64_t>& lengths : kLengths) {
    const Sequences sequences = of_lengths(lengths);
    for (const auto& [channels, state] : {std::pair{32, 16}, {19, 5}, {80, 16}, {7, 33}}) {
      for (const at::ScalarType type : kTypes) {
        SCOPED_TRACE(fmt::format("{}, {} channels, {} states", name_of(lengths), channels, state));
        expect_forms_agree(scan_of(false, sequences), scan_of(true, sequences),
                           scan_inputs(sequences.rows(), channels, state), types_with(type, 6, {2, 5}));
      }
    }
  }
}

// States that hardly fade: an error of the decay in its last digit would grow with every row.
TEST(selective_scan, keeps_slow_states_over_thousands_of_rows) {
  const Sequences sequences = of_lengths({4000});
  Tensors inputs = scan_inputs(4000, 16, 4);
  inputs[1] = at::full({4000, 16}, std::log(std::expm1(1e-4)), at::kDouble);
  inputs[2] = at::log(at::tensor({1.0, 0.1, 1e-2, 1e-4}, at::kDouble)).expand({16, 4}).clone();
  inputs[3] = inputs[3].abs();
  expect_fast_matches_plain(scan_of(false, sequences), scan_of(true, sequences), inputs, types_with(at::kFloat, 6, {}),
                            tolerance(at::kFloat));
}

TEST(selective_scan, forgets_at_once_where_steps_are_huge) {
  const Sequences sequences = of_lengths({40});
  Tensors inputs = scan_inputs(40, 16, 16);
  inputs[1] = inputs[1] + at::arange(-60, 100, 4, at::kDouble).unsqueeze(1);
  expect_fast_matches_plain(scan_of(false, sequences), scan_of(true, sequences), inputs, types_with(at::kFloat, 6, {}),
                            tolerance(at::kFloat));
}

TEST(selective_scan, takes_steps_in_float32_beside_bfloat16) {
  const Sequences sequences = of_lengths({40, 3});
  expect_fast_matches_plain(scan_of(false, sequences), scan_of(true, sequences), scan_inputs(43, 20, 16),
                            {at::kBFloat16, at::kFloat, at::kFloat, at::kBFloat16, at::kFloat, at::kFloat},
                            tolerance(at::kBFloat16));
}

// ---- state_space ----

Function state_space_of(bool is_plain, const Sequences& sequences, const StateSpaceShape& shape) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? state_space_plain(in[0], in[1], in[2], in[3], in[4], in[5], sequences, shape)
                     : state_space(in[0], in[1], in[2], in[3], in[4], in[5], sequences, shape)};
  };
}

// Rates from 1 to 16 as at the start of training.
Tensors state_space_inputs(int64_t rows, const StateSpaceShape& shape) {
  const int64_t width = shape.groups * shape.state;
  const double scale = 1 / std::sqrt(static_cast<double>(shape.state));
  return {random({rows, shape.heads * shape.head_width}, 1),
          random({rows, shape.heads}, 2) * 1.5 - 3,
          at::log(at::rand({shape.heads}, at::make_generator<at::CPUGeneratorImpl>(3), at::kDouble) * 15 + 1),
          random({rows, width}, 4),
          random({rows, width}, 5) * scale,
          random({shape.heads}, 6)};
}

TEST(state_space, plain_form_is_the_recurrence) {
  const Sequences sequences = of_lengths({4, 1, 7});
  const StateSpaceShape shape{.heads = 4, .head_width = 3, .groups = 2, .state = 5};
  const Tensors in = state_space_inputs(sequences.rows(), shape);
  const at::Tensor y = state_space_plain(in[0], in[1], in[2], in[3], in[4], in[5], sequences, shape);
  const int64_t inner = shape.heads * shape.head_width, width = shape.groups * shape.state;
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t h = 0; h < shape.heads; ++h) {
      const int64_t group = h / (shape.heads / shape.groups);
      for (int64_t p = 0; p < shape.head_width; ++p) {
        std::vector<double> h_S(shape.state);
        for (int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
          const int64_t column = h * shape.head_width + p;
          const double x = doubles(in[0])[t * inner + column];
          const double delta = softplus(doubles(in[1])[t * shape.heads + h]);
          const double decay = std::exp(-delta * std::exp(doubles(in[2])[h]));
          double expected = doubles(in[5])[h] * x;
          for (int64_t n = 0; n < shape.state; ++n) {
            const int64_t at = t * width + group * shape.state + n;
            h_S[n] = decay * h_S[n] + delta * x * doubles(in[3])[at];
            expected += h_S[n] * doubles(in[4])[at];
          }
          EXPECT_NEAR(y[t][column].item<double>(), expected, 1e-12);
        }
      }
    }
  }
}

TEST(state_space, plain_gradients_match_differences) {
  const Sequences sequences = of_lengths({3, 0, 1, 5});
  const StateSpaceShape shape{.heads = 4, .head_width = 2, .groups = 2, .state = 3};
  expect_gradients_match_differences(state_space_of(true, sequences, shape), state_space_inputs(9, shape));
}

const std::vector<StateSpaceShape> kShapes = {{.heads = 2, .head_width = 16, .groups = 1, .state = 16},
                                              {.heads = 6, .head_width = 5, .groups = 3, .state = 7},
                                              {.heads = 2, .head_width = 64, .groups = 1, .state = 33},
                                              {.heads = 4, .head_width = 24, .groups = 2, .state = 64},
                                              {.heads = 3, .head_width = 32, .groups = 1, .state = 1}};

std::string name_of(const StateSpaceShape& shape) {
  return fmt::format("{} heads of {} in {} groups, state {}", shape.heads, shape.head_width, shape.groups, shape.state);
}

TEST(state_space, fast_form_matches_plain) {
  for (const std::vector<int64_t>& lengths : kLengths) {
    const Sequences sequences = of_lengths(lengths);
    for (const StateSpaceShape& shape : kShapes) {
      for (const at::ScalarType type : kTypes) {
        SCOPED_TRACE(fmt::format("{}, {}", name_of(lengths), name_of(shape)));
        expect_forms_agree(state_space_of(false, sequences, shape), state_space_of(true, sequences, shape),
                           state_space_inputs(sequences.rows(), shape), types_with(type, 6, {2, 5}));
      }
    }
  }
}

// The path of other devices, here on the CPU.
Function chunks_of(const Sequences& sequences, const StateSpaceShape& shape) {
  return [=](const Tensors& in) -> Tensors {
    return {state_space_chunks(in[0], in[1], in[2], in[3], in[4], in[5], sequences, shape)};
  };
}

TEST(state_space, form_in_chunks_matches_plain) {
  for (const std::vector<int64_t>& lengths : kLengths) {
    const Sequences sequences = of_lengths(lengths);
    const StateSpaceShape shape{.heads = 4, .head_width = 5, .groups = 2, .state = 7};
    SCOPED_TRACE(name_of(lengths));
    const Function chunks = chunks_of(sequences, shape);
    const Tensors inputs = state_space_inputs(sequences.rows(), shape);
    if (sequences.rows() == 0) {
      EXPECT_EQ(chunks(inputs)[0].sizes(), inputs[0].sizes());
    } else {
      expect_fast_matches_plain(chunks, state_space_of(true, sequences, shape), inputs, types_with(at::kDouble, 6, {}),
                                1e-10);
    }
  }
}

TEST(state_space, keeps_slow_states_and_forgets_at_once) {
  const Sequences sequences = of_lengths({500});
  const StateSpaceShape shape{.heads = 2, .head_width = 16, .groups = 1, .state = 16};
  Tensors inputs = state_space_inputs(500, shape);
  inputs[1] = inputs[1] - 6;
  inputs[1].slice(0, 0, 500, 50).fill_(40);  // whatever was before such a row is gone
  inputs[2] = at::log(at::tensor({1e-3, 30.0}, at::kDouble));
  for (const Function& form : {state_space_of(false, sequences, shape), chunks_of(sequences, shape)}) {
    expect_fast_matches_plain(form, state_space_of(true, sequences, shape), inputs, types_with(at::kFloat, 6, {}),
                              tolerance(at::kFloat));
  }
}

// ---- gated_rms_norm ----

constexpr double kEpsilon = 1e-5;

Function gated_norm_of(bool is_plain, int64_t groups) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? gated_rms_norm_plain(in[0], in[1], in[2], groups, kEpsilon)
                     : gated_rms_norm(in[0], in[1], in[2], groups, kEpsilon)};
  };
}

Tensors gated_norm_inputs(int64_t rows, int64_t width) {
  return {random({rows, width}, 1), random({rows, width}, 2), random({width}, 3)};
}

TEST(gated_rms_norm, plain_form_is_the_formula) {
  const int64_t rows = 3, width = 8, groups = 2, part = 4;
  const Tensors in = gated_norm_inputs(rows, width);
  const at::Tensor y = gated_rms_norm_plain(in[0], in[1], in[2], groups, kEpsilon);
  const auto gated = [&](int64_t at) { return doubles(in[0])[at] * silu(doubles(in[1])[at]); };
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t i = 0; i < width; ++i) {
      double squares = 0;
      for (int64_t j = i / part * part; j < (i / part + 1) * part; ++j) squares += std::pow(gated(n * width + j), 2);
      const double expected = gated(n * width + i) / std::sqrt(squares / part + kEpsilon) * doubles(in[2])[i];
      EXPECT_NEAR(y[n][i].item<double>(), expected, 1e-12);
    }
  }
  expect_gradients_match_differences(gated_norm_of(true, groups), in);
}

TEST(gated_rms_norm, fast_form_matches_plain) {
  for (const int64_t rows : {0, 1, 70}) {
    for (const auto& [width, groups] : {std::pair{64, 1}, {57, 3}, {96, 2}}) {
      for (const at::ScalarType type : kTypes) {
        SCOPED_TRACE(fmt::format("{} rows, {} columns, {} groups", rows, width, groups));
        expect_forms_agree(gated_norm_of(false, groups), gated_norm_of(true, groups), gated_norm_inputs(rows, width),
                           types_with(type, 3, {2}));
      }
    }
  }
  expect_fast_matches_plain(gated_norm_of(false, 2), gated_norm_of(true, 2), gated_norm_inputs(9, 64),
                            {at::kFloat, at::kBFloat16, at::kFloat}, tolerance(at::kBFloat16));
}

// ---- smooth_rows ----

Function smooth_of(bool is_plain, const Sequences& sequences) {
  return [=](const Tensors& in) -> Tensors {
    return {is_plain ? smooth_rows_plain(in[0], in[1], sequences) : smooth_rows(in[0], in[1], sequences)};
  };
}

Tensors smooth_inputs(int64_t rows, int64_t width) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(2);
  return {random({rows, width}, 1), at::rand({rows}, generator, at::kDouble) * 0.9998 + 1e-4};
}

TEST(smooth_rows, plain_form_is_the_moving_average) {
  const Sequences sequences = of_lengths({4, 1, 7});
  const Tensors in = smooth_inputs(12, 3);
  const at::Tensor e = smooth_rows_plain(in[0], in[1], sequences);
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t i = 0; i < 3; ++i) {
      double expected = 0;
      for (int64_t k = sequences.offsets[s]; k < sequences.offsets[s + 1]; ++k) {
        const double p = doubles(in[1])[k];
        expected = p * doubles(in[0])[k * 3 + i] + (1 - p) * expected;
        EXPECT_NEAR(e[k][i].item<double>(), expected, 1e-12);
      }
    }
  }
  expect_gradients_match_differences(smooth_of(true, sequences), in);
}

TEST(smooth_rows, fast_form_matches_plain) {
  for (const std::vector<int64_t>& lengths : kLengths) {
    const Sequences sequences = of_lengths(lengths);
    for (const int64_t width : {48, 19, 130}) {
      for (const at::ScalarType type : kTypes) {
        SCOPED_TRACE(fmt::format("{}, width {}", name_of(lengths), width));
        // The averages come back from memory as bfloat16 for the gradient of p: sums of rounding errors.
        expect_forms_agree(smooth_of(false, sequences), smooth_of(true, sequences),
                           smooth_inputs(sequences.rows(), width), {type, at::kFloat});
      }
    }
  }
}

// ---- all of them ----

struct Operation {
  std::string name;
  std::function<Function(const Sequences&)> fast;
  std::function<Tensors(int64_t rows)> inputs;
  int64_t row_inputs;  // the first so many inputs have one row for each row of the batch, and so have these:
  std::vector<size_t> also;
};

const StateSpaceShape kShape{.heads = 4, .head_width = 24, .groups = 2, .state = 20};

std::vector<Operation> operations() {
  return {{"causal_convolution",
           [](const Sequences& s) { return convolution_of(false, s); },
           [](int64_t rows) { return convolution_inputs(rows, 40, 4); },
           1,
           {}},
          {"selective_scan",
           [](const Sequences& s) { return scan_of(false, s); },
           [](int64_t rows) { return scan_inputs(rows, 150, 16); },
           2,
           {3, 4}},
          {"state_space",
           [](const Sequences& s) { return state_space_of(false, s, kShape); },
           [](int64_t rows) { return state_space_inputs(rows, kShape); },
           2,
           {3, 4}},
          {"smooth_rows",
           [](const Sequences& s) { return smooth_of(false, s); },
           [](int64_t rows) { return smooth_inputs(rows, 150); },
           2,
           {}}};
}

Tensors in_float(const Tensors& inputs) {
  Tensors floats;
  for (const at::Tensor& input : inputs) floats.push_back(input.to(at::kFloat));
  return floats;
}

TEST(state_space_layers, sequences_do_not_see_each_other) {
  const Sequences both = of_lengths({70, 45}), alone = of_lengths({45});
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    const Tensors inputs = in_float(operation.inputs(115));
    Tensors second = inputs, changed = inputs;
    const auto by_row = [&](size_t i) {
      second[i] = inputs[i].slice(0, 70);
      changed[i] = inputs[i].clone();
      changed[i].slice(0, 0, 70).mul_(0.5);
    };
    for (int64_t i = 0; i < operation.row_inputs; ++i) by_row(static_cast<size_t>(i));
    for (const size_t i : operation.also) by_row(i);
    const at::Tensor expected = operation.fast(alone)(second)[0];
    EXPECT_LT(largest_difference(operation.fast(both)(inputs)[0].slice(0, 70), expected), 1e-6);
    // Whatever the first sequence holds: the same bits.
    EXPECT_TRUE(at::equal(operation.fast(both)(inputs)[0].slice(0, 70), operation.fast(both)(changed)[0].slice(0, 70)));
  }
}

TEST(state_space_layers, do_not_depend_on_the_number_of_threads) {
  const Sequences sequences = of_lengths({300, 1, 2, 0, 257, 90, 64});
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    expect_same_bits_for_any_threads(operation.fast(sequences), in_float(operation.inputs(sequences.rows())));
  }
  expect_same_bits_for_any_threads(gated_norm_of(false, 2), in_float(gated_norm_inputs(700, 96)));
}

TEST(state_space_layers, read_column_ranges_where_they_lie) {
  const Sequences sequences = of_lengths({70, 45});
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    const Tensors inputs = in_float(operation.inputs(115));
    Tensors parts = inputs;
    for (at::Tensor& part : parts) {
      if (part.dim() == 2) part = at::constant_pad_nd(part, {3, 2}, NAN).narrow(1, 3, part.size(1));
    }
    const Function function = operation.fast(sequences);
    EXPECT_TRUE(at::equal(function(parts)[0], function(inputs)[0]));
  }
}

TEST(state_space_layers, refuse_shapes_that_do_not_fit) {
  const Sequences sequences = of_lengths({2, 3}), too_long = of_lengths({2, 4});
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    const Tensors inputs = in_float(operation.inputs(5));
    EXPECT_THROW((void)operation.fast(too_long)(inputs), InternalError);
    for (size_t i = 1; i < inputs.size(); ++i) {
      Tensors wrong = inputs;
      wrong[i] = at::zeros({3, 3});
      EXPECT_THROW((void)operation.fast(sequences)(wrong), InternalError) << i;
    }
  }
  EXPECT_THROW((void)gated_rms_norm(at::zeros({2, 6}), at::zeros({2, 6}), at::zeros({6}), 4, 1e-5), InternalError);
  EXPECT_THROW((void)gated_rms_norm(at::zeros({2, 6}), at::zeros({2, 5}), at::zeros({6}), 2, 1e-5), InternalError);
}

// ---- stepwise twins ----

const std::vector<std::vector<int64_t>> kStretches = {{12}, std::vector<int64_t>(12, 1), {1, 5, 2, 4}, {2, 0, 10}};

// Runs `step(first row, rows)` over twelve rows cut in different ways; `result` must come out as `expected`.
template <class Reset, class Step>
void expect_rows_match(const at::Tensor& expected, const std::vector<float>& result, const Reset& reset,
                       const Step& step) {
  for (const std::vector<int64_t>& stretches : kStretches) {
    SCOPED_TRACE(name_of(stretches));
    reset();
    int64_t first = 0;
    for (const int64_t rows : stretches) {
      step(first, rows);
      first += rows;
    }
    const at::Tensor got = at::tensor(result).view(expected.sizes());
    EXPECT_LT(largest_difference(got, expected), tolerance(at::kFloat));
  }
}

const float* floats(const at::Tensor& x) { return x.data_ptr<float>(); }

TEST(state_space_rows, convolution_matches_plain_in_any_stretches) {
  for (const int64_t width : {4, 1, 6}) {
    const int64_t channels = 21;
    const Tensors in = convolution_inputs(12, channels, width), given = in_float(in);
    const at::Tensor expected = causal_convolution_plain(given[0].to(at::kDouble), given[1].to(at::kDouble),
                                                         given[2].to(at::kDouble), of_lengths({12}));
    std::vector<float> window, y;
    const auto reset = [&] {
      window.assign(static_cast<size_t>(channels * (width - 1)), 0.0F);
      y.assign(floats(given[0]), floats(given[0]) + given[0].numel());
    };
    expect_rows_match(expected, y, reset, [&](int64_t first, int64_t rows) {
      float* in_place = y.data() + first * channels;
      causal_convolution_rows(in_place, channels, floats(given[1]), floats(given[2]), window.data(), in_place, channels,
                              rows, channels, width);
    });
  }
}

TEST(state_space_rows, scan_matches_plain_in_any_stretches) {
  const int64_t channels = 5, state = 21;
  const Tensors given = in_float(scan_inputs(12, channels, state));
  Tensors exact;
  for (const at::Tensor& input : given) exact.push_back(input.to(at::kDouble));
  const at::Tensor expected = scan_of(true, of_lengths({12}))(exact)[0];
  std::vector<float> states, y(given[0].numel());
  const auto reset = [&] { states.assign(static_cast<size_t>(channels * state), 0.0F); };
  expect_rows_match(expected, y, reset, [&](int64_t first, int64_t rows) {
    selective_scan_rows(floats(given[0]) + first * channels, floats(given[1]) + first * channels, floats(given[2]),
                        floats(given[3]) + first * state, state, floats(given[4]) + first * state, state,
                        floats(given[5]), states.data(), y.data() + first * channels, rows, channels, state);
  });
}

TEST(state_space_rows, state_space_matches_plain_in_any_stretches) {
  for (const StateSpaceShape& shape : kShapes) {
    SCOPED_TRACE(name_of(shape));
    const Tensors given = in_float(state_space_inputs(12, shape));
    Tensors exact;
    for (const at::Tensor& input : given) exact.push_back(input.to(at::kDouble));
    const at::Tensor expected = state_space_of(true, of_lengths({12}), shape)(exact)[0];
    // x, b, c and step as parts of one row, as they come out of a layer.
    const at::Tensor row = at::cat({given[0], given[3], given[4], given[1]}, 1);
    const int64_t inner = given[0].size(1), width = given[3].size(1), stride = row.size(1);
    std::vector<float> states, y(given[0].numel());
    const auto reset = [&] { states.assign(static_cast<size_t>(inner * shape.state), 0.0F); };
    expect_rows_match(expected, y, reset, [&](int64_t first, int64_t rows) {
      const float* from = floats(row) + first * stride;
      state_space_rows(from, stride, from + inner + 2 * width, stride, floats(given[2]), from + inner, stride,
                       from + inner + width, stride, floats(given[5]), states.data(), y.data() + first * inner, inner,
                       rows, shape.heads, shape.head_width, shape.groups, shape.state);
    });
  }
}

TEST(state_space_rows, gated_norm_matches_plain) {
  const Tensors given = in_float(gated_norm_inputs(12, 66));
  const at::Tensor expected =
      gated_rms_norm_plain(given[0].to(at::kDouble), given[1].to(at::kDouble), given[2].to(at::kDouble), 2, kEpsilon);
  std::vector<float> y;
  const auto reset = [&] { y.assign(floats(given[0]), floats(given[0]) + given[0].numel()); };
  expect_rows_match(expected, y, reset, [&](int64_t first, int64_t rows) {
    float* in_place = y.data() + first * 66;
    gated_rms_norm_rows(in_place, floats(given[1]) + first * 66, 66, floats(given[2]), in_place, rows, 66, 2, kEpsilon);
  });
}

}  // namespace
}  // namespace verbatim::nn
