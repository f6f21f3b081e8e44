#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace verbatim::nn {

using TensorFunction = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

// Runs `function` without keeping its inner activations; the backward pass runs it again. The function must be
// deterministic; weights it uses get their gradients as usual. (Chen et al. 2016, sublinear memory.)
[[nodiscard]] std::vector<at::Tensor> checkpoint(const TensorFunction& function, const std::vector<at::Tensor>& inputs);

}  // namespace verbatim::nn
