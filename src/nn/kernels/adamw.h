#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace verbatim::nn {

struct AdamWStep {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double gradient_scale = 1;  // multiplies every gradient first: clipping and accumulation in the same pass
  int64_t step = 1;           // 1 for the first update
};

// One tensor and its moments, all float32, contiguous, same size.
struct AdamWTensor {
  at::Tensor weight;
  at::Tensor gradient;
  at::Tensor first_moment;
  at::Tensor second_moment;
  double weight_decay = 0;  // decoupled: weight -= learning_rate * weight_decay * weight
  double learning_rate_factor = 1;
};

// One pass over all tensors, in parallel over fixed blocks: no per-tensor operator overhead, repeatable bit for bit.
// Loshchilov and Hutter 2019, algorithm 2, with bias correction.
void adamw_update(std::vector<AdamWTensor>& tensors, const AdamWStep& step);
void adamw_update_plain(std::vector<AdamWTensor>& tensors, const AdamWStep& step);

// sqrt of the sum of squares over all gradients; the summation order is fixed.
[[nodiscard]] double global_norm(const std::vector<at::Tensor>& gradients);

}  // namespace verbatim::nn
