#pragma once

#include <ATen/core/Tensor.h>

// The three matrix products of a linear layer on bfloat16 activations with AMX: sums in float32, weights packed for the
// unit (and rounded) on the way in. Only where amx_is_available() (amx_tiles.h). Results do not depend on threads.
// N rows, D input width, E output width; x and dy contiguous bfloat16, weight contiguous float32 or bfloat16.
namespace verbatim::nn {

// x W^T (+ bias): [N, D], [E, D] -> [N, E] bfloat16. bias float32 or undefined.
[[nodiscard]] at::Tensor amx_linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E);

// dy W: [N, E], [E, D] -> [N, D] bfloat16.
[[nodiscard]] at::Tensor amx_input_gradient(const at::Tensor& dy_NE, const at::Tensor& weight_ED);

// dy^T x: [N, E], [N, D] -> [E, D] float32.
[[nodiscard]] at::Tensor amx_weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND);

}  // namespace verbatim::nn
