#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/kernels/state_space.h"
#include "nn/sequences.h"

// What the state-space kernels promise about their arguments, checked once for the plain and the fast forms. Throws
// InternalError: the callers made these tensors, not the user.
namespace verbatim::nn {

void check_causal_convolution(const at::Tensor& x_NC, const at::Tensor& weight_CW, const at::Tensor& bias_C,
                              const Sequences& sequences);
void check_selective_scan(const at::Tensor& x_NI, const at::Tensor& step_NI, const at::Tensor& log_decay_IS,
                          const at::Tensor& b_NS, const at::Tensor& c_NS, const at::Tensor& skip_I,
                          const Sequences& sequences);
void check_state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                       const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                       const Sequences& sequences, const StateSpaceShape& shape);
void check_gated_rms_norm(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I, int64_t groups);
void check_smooth_rows(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences);

}  // namespace verbatim::nn
