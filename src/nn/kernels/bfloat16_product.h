#pragma once

#include <ATen/core/Tensor.h>

// The three matrix products of a linear layer on bfloat16 activations, by the matrix unit or by AVX-512's dot products:
// sums in float32, weights packed for them (and rounded) on the way in. Results do not depend on threads.
// N rows, D input width, E output width; x and dy contiguous bfloat16, weight contiguous float32 or bfloat16.
namespace verbatim::nn {

// Whether this program was compiled for one of the two; nothing else here may be called when not.
[[nodiscard]] bool bfloat16_products_are_available();

// x W^T (+ bias): [N, D], [E, D] -> [N, E] bfloat16. bias float32 or undefined.
[[nodiscard]] at::Tensor bfloat16_linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E);

// dy W: [N, E], [E, D] -> [N, D] bfloat16.
[[nodiscard]] at::Tensor bfloat16_input_gradient(const at::Tensor& dy_NE, const at::Tensor& weight_ED);

// dy^T x: [N, E], [N, D] -> [E, D] float32.
[[nodiscard]] at::Tensor bfloat16_weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND);

}  // namespace verbatim::nn
