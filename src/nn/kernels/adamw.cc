#include "nn/kernels/adamw.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"

namespace verbatim::nn {

void adamw_update_plain(std::vector<AdamWTensor>& tensors, const AdamWStep& step) {
  const at::NoGradGuard no_grad;
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  for (AdamWTensor& each : tensors) {
    const double rate = step.learning_rate * each.learning_rate_factor;
    const at::Tensor gradient = each.gradient * step.gradient_scale;
    each.first_moment.mul_(step.beta1).add_(gradient, 1 - step.beta1);
    each.second_moment.mul_(step.beta2).addcmul_(gradient, gradient, 1 - step.beta2);
    const at::Tensor direction =
        (each.first_moment / correction1) / ((each.second_moment / correction2).sqrt() + step.epsilon);
    each.weight.mul_(1 - rate * each.weight_decay).sub_(direction, rate);
  }
}

void adamw_update(std::vector<AdamWTensor>& tensors, const AdamWStep& step) { adamw_update_plain(tensors, step); }

double global_norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  double sum = 0;
  for (const at::Tensor& gradient : gradients) {
    sum += gradient.to(at::kDouble).square().sum().item<double>();
  }
  return std::sqrt(sum);
}

}  // namespace verbatim::nn
