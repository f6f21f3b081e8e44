#include "nn/kernels/state_space.h"

// Stands in for the fast forms.
namespace verbatim::nn {

at::Tensor causal_convolution(const at::Tensor& x_NC, const at::Tensor& weight_CW, const at::Tensor& bias_C,
                              const Sequences& sequences) {
  return causal_convolution_plain(x_NC, weight_CW, bias_C, sequences);
}

at::Tensor selective_scan(const at::Tensor& x_NI, const at::Tensor& step_NI, const at::Tensor& log_decay_IS,
                          const at::Tensor& b_NS, const at::Tensor& c_NS, const at::Tensor& skip_I,
                          const Sequences& sequences) {
  return selective_scan_plain(x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I, sequences);
}

at::Tensor state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                       const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                       const Sequences& sequences, const StateSpaceShape& shape) {
  return state_space_plain(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
}

at::Tensor gated_rms_norm(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I, int64_t groups,
                          double epsilon) {
  return gated_rms_norm_plain(x_NI, gate_NI, gain_I, groups, epsilon);
}

at::Tensor smooth_rows(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences) {
  return smooth_rows_plain(x_KD, p_K, sequences);
}

}  // namespace verbatim::nn
