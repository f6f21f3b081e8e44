#pragma once

// Found before LibTorch 1.13's file of this name, which brings the dispatcher and its registration of functions, and
// factories that are in at:: anyhow. What <torch/nn/module.h> and Verbatim name of torch:: is this.
#include <ATen/ATen.h>

namespace torch {
using namespace at;  // NOLINT(google-build-using-namespace): as in the original
using Dtype = at::ScalarType;
using c10::nullopt;
using c10::optional;
}  // namespace torch
