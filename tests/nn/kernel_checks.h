#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "nn/torch.h"

// How kernels are proved: gradients of the plain form against finite differences in double, the fast form against the
// plain one, the same bits for any number of threads.
namespace verbatim::nn {

using Tensors = std::vector<at::Tensor>;

inline at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(sizes, generator, at::kDouble);
}

inline at::Tensor random_indices(at::IntArrayRef sizes, int64_t low, int64_t high, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randint(low, high, sizes, generator, at::kLong);
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  if (a.numel() == 0) return 0;
  const double difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  const double size = std::max(1.0, b.to(at::kDouble).abs().max().item<double>());
  return std::isnan(difference) ? INFINITY : difference / size;
}

// Rounding of the types, with room for sums.
inline double tolerance(at::ScalarType type) { return type == at::kBFloat16 ? 1.2e-2 : 2e-5; }

using Function = std::function<Tensors(const Tensors&)>;

struct Outcome {
  Tensors values;
  Tensors gradients;
};

// Values and the gradients of a weighted sum of all outputs.
inline Outcome run(const Function& function, const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_(true));
  // Not the leaves themselves: what a kernel does to its input in place must be allowed.
  Tensors arguments;
  for (const at::Tensor& leaf : leaves) arguments.push_back(leaf * 1);
  Outcome outcome;
  outcome.values = function(arguments);
  arguments.clear();
  at::Tensor total = at::zeros({}, at::kDouble);
  for (size_t i = 0; i < outcome.values.size(); ++i) {
    const at::Tensor value = outcome.values[i].to(at::kDouble);
    total = total + (value * random(value.sizes(), 900 + i)).sum();
  }
  total.backward();
  for (const at::Tensor& leaf : leaves) outcome.gradients.push_back(leaf.grad());
  for (at::Tensor& value : outcome.values) value = value.detach();
  return outcome;
}

// Central differences in double against the gradients of the same function.
inline void expect_gradients_match_differences(const Function& function, const Tensors& inputs) {
  const Outcome outcome = run(function, inputs);
  const auto weighted_sum = [&](const Tensors& arguments) {
    const at::NoGradGuard no_grad;
    const Tensors values = function(arguments);
    double total = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      total += (values[i] * random(values[i].sizes(), 900 + i)).sum().item<double>();
    }
    return total;
  };
  constexpr double kStep = 1e-6;
  for (size_t which = 0; which < inputs.size(); ++which) {
    Tensors moved;
    for (const at::Tensor& input : inputs) moved.push_back(input.clone());
    double* values = moved[which].data_ptr<double>();
    const at::Tensor gradient = outcome.gradients[which].contiguous();
    for (int64_t i = 0; i < moved[which].numel(); ++i) {
      const double kept = values[i];
      values[i] = kept + kStep;
      const double above = weighted_sum(moved);
      values[i] = kept - kStep;
      const double below = weighted_sum(moved);
      values[i] = kept;
      ASSERT_NEAR((above - below) / (2 * kStep), gradient.data_ptr<double>()[i], 2e-7)
          << "input " << which << "[" << i << "]";
    }
  }
}

// `types`: of the inputs. The plain form runs on the same rounded inputs, in double.
inline void expect_fast_matches_plain(const Function& fast, const Function& plain, const Tensors& inputs,
                                      const std::vector<at::ScalarType>& types, double allowed) {
  Tensors given;
  Tensors exact;
  for (size_t i = 0; i < inputs.size(); ++i) {
    given.push_back(inputs[i].to(types[i]));
    exact.push_back(given.back().to(at::kDouble));
  }
  const Outcome got = run(fast, given);
  const Outcome expected = run(plain, exact);
  for (size_t i = 0; i < expected.values.size(); ++i) {
    EXPECT_LT(largest_difference(got.values[i], expected.values[i]), allowed) << "output " << i;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(got.gradients[i].scalar_type(), types[i]);
    EXPECT_LT(largest_difference(got.gradients[i], expected.gradients[i]), allowed) << "gradient " << i;
  }
}

// The same bits with one thread and with two, in values and gradients.
inline void expect_same_bits_for_any_threads(const Function& function, const Tensors& inputs) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Outcome one = run(function, inputs);
  at::set_num_threads(2);
  const Outcome two = run(function, inputs);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.values.size(); ++i) EXPECT_TRUE(at::equal(one.values[i], two.values[i]));
  for (size_t i = 0; i < one.gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(one.gradients[i], two.gradients[i])) << "gradient " << i;
  }
}

inline const double* doubles(const at::Tensor& x) { return x.data_ptr<double>(); }

}  // namespace verbatim::nn
