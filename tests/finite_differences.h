#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "nn/torch.h"

namespace verbatim::testing {

// The slope of `loss()` along a random direction of a double parameter, from its gradient, equals that by central
// differences.
template <class Loss>
void expect_slope(at::Tensor value, const std::string& name, const Loss& loss) {
  ASSERT_TRUE(value.grad().defined()) << name << " has no gradient";
  const at::Tensor direction = at::randn_like(value);
  const double slope = (value.grad() * direction).sum().item<double>();
  constexpr double kStep = 1e-6;
  value.add_(direction, kStep);
  const double above = loss().template item<double>();
  value.sub_(direction, 2 * kStep);
  const double below = loss().template item<double>();
  value.add_(direction, kStep);
  const double difference = (above - below) / (2 * kStep);
  EXPECT_NEAR(slope, difference, 1e-6 * std::max(1.0, std::abs(difference)) + 1e-6) << name;
}

}  // namespace verbatim::testing
