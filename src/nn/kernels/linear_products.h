#pragma once

#include <ATen/core/Tensor.h>

// The three matrix products of a linear layer on the CPU: our own in bfloat16 where the machine has instructions for
// them, else OpenBLAS's in float32. For `linear` and for kernels that fuse one. No autograd; contiguous arguments;
// weight float32, or the type of x.
namespace verbatim::nn {

// x W^T (+ bias): [N, D], [E, D] -> [N, E] in the type of x.
[[nodiscard]] at::Tensor linear_product(const at::Tensor& x_ND, const at::Tensor& weight_ED,
                                        const at::Tensor& bias_E = {});
// dy W: [N, E], [E, D] -> [N, D] in the type of dy.
[[nodiscard]] at::Tensor linear_input_gradient(const at::Tensor& dy_NE, const at::Tensor& weight_ED);
// dy^T x: [N, E], [N, D] -> [E, D] float32.
[[nodiscard]] at::Tensor linear_weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND);

}  // namespace verbatim::nn
