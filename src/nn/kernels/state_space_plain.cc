#include <ATen/ATen.h>

#include <vector>

#include "base/error.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"

// The definitions, in tensor operations and row after row: any floating point type, any device, differentiated by
// LibTorch. Rows are taken apart and put together at once (unbind, stack): selecting them one by one would make the
// backward pass quadratic in their number.
namespace verbatim::nn {

namespace {

// float32 for the small types, the type itself otherwise.
at::ScalarType inner_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

void check_sequences(const at::Tensor& x, const Sequences& sequences, const char* where) {
  VERBATIM_ASSERT(x.defined() && x.dim() == 2 && x.is_floating_point(), "{}: expected a floating point matrix", where);
  VERBATIM_ASSERT(sequences.offsets.front() == 0 && sequences.rows() == x.size(0),
                  "{}: offsets go from {} to {}, {} rows", where, sequences.offsets.front(), sequences.rows(),
                  x.size(0));
  for (int64_t s = 0; s < sequences.count(); ++s) {
    VERBATIM_ASSERT(sequences.length(s) >= 0, "{}: offsets fall at {}", where, s + 1);
  }
}

void check_shape(const at::Tensor& x, at::IntArrayRef sizes, const char* what) {
  VERBATIM_ASSERT(x.defined() && x.is_floating_point() && x.sizes() == sizes, "{}: expected [{}]", what,
                  fmt::join(sizes, ", "));
}

// Calls step(state, t), which returns the next state, for the rows t of each sequence in order, starting from `zero`.
template <class Step>
void for_each_row(const Sequences& sequences, const at::Tensor& zero, const Step& step) {
  for (int64_t s = 0; s < sequences.count(); ++s) {
    at::Tensor state = zero;
    for (int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) state = step(state, t);
  }
}

}  // namespace

void check_causal_convolution(const at::Tensor& x_NC, const at::Tensor& weight_CW, const at::Tensor& bias_C,
                              const Sequences& sequences) {
  check_sequences(x_NC, sequences, "causal_convolution");
  VERBATIM_ASSERT(weight_CW.dim() == 2 && weight_CW.size(1) > 0, "causal_convolution: weight is no matrix");
  check_shape(weight_CW, {x_NC.size(1), weight_CW.size(1)}, "causal_convolution: weight");
  check_shape(bias_C, {x_NC.size(1)}, "causal_convolution: bias");
}

void check_selective_scan(const at::Tensor& x_NI, const at::Tensor& step_NI, const at::Tensor& log_decay_IS,
                          const at::Tensor& b_NS, const at::Tensor& c_NS, const at::Tensor& skip_I,
                          const Sequences& sequences) {
  check_sequences(x_NI, sequences, "selective_scan");
  VERBATIM_ASSERT(log_decay_IS.dim() == 2, "selective_scan: log_decay is no matrix");
  const int64_t rows = x_NI.size(0), channels = x_NI.size(1), state = log_decay_IS.size(1);
  check_shape(step_NI, {rows, channels}, "selective_scan: step");
  check_shape(log_decay_IS, {channels, state}, "selective_scan: log_decay");
  check_shape(b_NS, {rows, state}, "selective_scan: b");
  check_shape(c_NS, {rows, state}, "selective_scan: c");
  check_shape(skip_I, {channels}, "selective_scan: skip");
}

void check_state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                       const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                       const Sequences& sequences, const StateSpaceShape& shape) {
  check_sequences(x_NI, sequences, "state_space");
  VERBATIM_ASSERT(
      shape.heads > 0 && shape.head_width > 0 && shape.groups > 0 && shape.state > 0 && shape.heads % shape.groups == 0,
      "state_space: {} heads of {} in {} groups with state {}", shape.heads, shape.head_width, shape.groups,
      shape.state);
  const int64_t rows = x_NI.size(0), width = shape.groups * shape.state;
  check_shape(x_NI, {rows, shape.heads * shape.head_width}, "state_space: x");
  check_shape(step_NH, {rows, shape.heads}, "state_space: step");
  check_shape(log_decay_H, {shape.heads}, "state_space: log_decay");
  check_shape(b_NE, {rows, width}, "state_space: b");
  check_shape(c_NE, {rows, width}, "state_space: c");
  check_shape(skip_H, {shape.heads}, "state_space: skip");
}

void check_gated_rms_norm(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I, int64_t groups) {
  VERBATIM_ASSERT(x_NI.defined() && x_NI.dim() == 2 && x_NI.is_floating_point(),
                  "gated_rms_norm: expected a floating point matrix");
  VERBATIM_ASSERT(groups > 0 && x_NI.size(1) % groups == 0, "gated_rms_norm: width {} in {} groups", x_NI.size(1),
                  groups);
  check_shape(gate_NI, x_NI.sizes(), "gated_rms_norm: gate");
  check_shape(gain_I, {x_NI.size(1)}, "gated_rms_norm: gain");
}

void check_smooth_rows(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences) {
  check_sequences(x_KD, sequences, "smooth_rows");
  check_shape(p_K, {x_KD.size(0)}, "smooth_rows: p");
}

at::Tensor causal_convolution_plain(const at::Tensor& x_NC, const at::Tensor& weight_CW, const at::Tensor& bias_C,
                                    const Sequences& sequences) {
  check_causal_convolution(x_NC, weight_CW, bias_C, sequences);
  if (x_NC.size(0) == 0) return x_NC * 1;
  const at::ScalarType type = inner_type(x_NC);
  const int64_t kernel_width = weight_CW.size(1);
  const std::vector<at::Tensor> weight_WC = weight_CW.to(type).unbind(1);
  std::vector<int64_t> lengths;
  for (int64_t s = 0; s < sequences.count(); ++s) lengths.push_back(sequences.length(s));
  std::vector<at::Tensor> parts;
  for (const at::Tensor& x_LC : x_NC.to(type).split_with_sizes(lengths)) {
    const at::Tensor padded_LC = at::constant_pad_nd(x_LC, {0, 0, kernel_width - 1, 0});
    at::Tensor sum_LC = bias_C.to(type);
    for (int64_t k = 0; k < kernel_width; ++k) {
      sum_LC = sum_LC + weight_WC[k] * padded_LC.narrow(0, k, x_LC.size(0));
    }
    parts.push_back(at::silu(sum_LC));
  }
  return at::cat(parts).to(x_NC.scalar_type());
}

at::Tensor selective_scan_plain(const at::Tensor& x_NI, const at::Tensor& step_NI, const at::Tensor& log_decay_IS,
                                const at::Tensor& b_NS, const at::Tensor& c_NS, const at::Tensor& skip_I,
                                const Sequences& sequences) {
  check_selective_scan(x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I, sequences);
  if (x_NI.size(0) == 0) return x_NI * 1;
  const at::ScalarType type = inner_type(x_NI);
  const at::Tensor x = x_NI.to(type);
  const at::Tensor delta_NI = at::softplus(step_NI.to(type));
  const at::Tensor rate_IS = -at::exp(log_decay_IS.to(type));
  const std::vector<at::Tensor> delta = delta_NI.unsqueeze(2).unbind(0);
  const std::vector<at::Tensor> input = (delta_NI * x).unsqueeze(2).unbind(0);
  const std::vector<at::Tensor> b = b_NS.to(type).unbind(0);
  const std::vector<at::Tensor> c = c_NS.to(type).unbind(0);
  std::vector<at::Tensor> y;
  for_each_row(sequences, at::zeros_like(rate_IS), [&](const at::Tensor& before_IS, int64_t t) {
    const at::Tensor state_IS = at::exp(delta[t] * rate_IS) * before_IS + input[t] * b[t];
    y.push_back(at::mv(state_IS, c[t]));
    return state_IS;
  });
  return (at::stack(y) + skip_I.to(type) * x).to(x_NI.scalar_type());
}

at::Tensor state_space_plain(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                             const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                             const Sequences& sequences, const StateSpaceShape& shape) {
  check_state_space(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  if (x_NI.size(0) == 0) return x_NI * 1;
  const auto& [heads, head_width, groups, state] = shape;
  const int64_t rows = x_NI.size(0);
  const at::ScalarType type = inner_type(x_NI);
  const at::Tensor x_NHP = x_NI.to(type).reshape({rows, heads, head_width});
  const at::Tensor delta_NH1 = at::softplus(step_NH.to(type)).unsqueeze(2);
  const at::Tensor decay_NH1 = at::exp(-delta_NH1 * at::exp(log_decay_H.to(type)).unsqueeze(1));
  // Every head with the b and c of its group: [N, G S] to [N, H, S].
  const auto per_head = [&](const at::Tensor& x_NE) {
    const at::Tensor x_NGS = x_NE.to(type).reshape({rows, shape.groups, shape.state});
    return x_NGS.repeat_interleave(shape.heads / shape.groups, 1);
  };
  const std::vector<at::Tensor> decay = decay_NH1.unsqueeze(3).unbind(0);
  const std::vector<at::Tensor> input = (delta_NH1 * x_NHP).unsqueeze(3).unbind(0);
  const std::vector<at::Tensor> b = per_head(b_NE).unsqueeze(2).unbind(0);
  const std::vector<at::Tensor> c = per_head(c_NE).unsqueeze(3).unbind(0);
  std::vector<at::Tensor> y;
  const at::Tensor zero_HPS = at::zeros({heads, head_width, state}, x_NHP.options());
  for_each_row(sequences, zero_HPS, [&](const at::Tensor& before_HPS, int64_t t) {
    const at::Tensor state_HPS = decay[t] * before_HPS + input[t] * b[t];
    y.push_back(at::matmul(state_HPS, c[t]).squeeze(2));
    return state_HPS;
  });
  return (at::stack(y) + skip_H.to(type).unsqueeze(1) * x_NHP).reshape(x_NI.sizes()).to(x_NI.scalar_type());
}

at::Tensor gated_rms_norm_plain(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I,
                                int64_t groups, double epsilon) {
  check_gated_rms_norm(x_NI, gate_NI, gain_I, groups);
  const at::ScalarType type = inner_type(x_NI);
  const at::Tensor gated_NI = x_NI.to(type) * at::silu(gate_NI.to(type));
  const at::Tensor gated_NGJ = gated_NI.reshape({x_NI.size(0), groups, x_NI.size(1) / groups});
  const at::Tensor scale_NG1 = at::rsqrt(at::mean(gated_NGJ * gated_NGJ, 2, /*keepdim=*/true) + epsilon);
  return ((gated_NGJ * scale_NG1).reshape(x_NI.sizes()) * gain_I.to(type)).to(x_NI.scalar_type());
}

at::Tensor smooth_rows_plain(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences) {
  check_smooth_rows(x_KD, p_K, sequences);
  if (x_KD.size(0) == 0) return x_KD * 1;
  const at::ScalarType type = inner_type(x_KD);
  const at::Tensor p_K1 = p_K.to(type).unsqueeze(1);
  const std::vector<at::Tensor> input = (p_K1 * x_KD.to(type)).unbind(0);
  const std::vector<at::Tensor> rest = (1 - p_K1).unbind(0);
  std::vector<at::Tensor> e;
  for_each_row(sequences, at::zeros_like(input[0]), [&](const at::Tensor& before_D, int64_t k) {
    e.push_back(input[k] + rest[k] * before_D);
    return e.back();
  });
  return at::stack(e).to(x_KD.scalar_type());
}

}  // namespace verbatim::nn
