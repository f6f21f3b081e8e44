#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/sequences.h"

// State-space layers over ragged batches: N rows of all sequences, every sequence starts from a state of zero, nothing
// passes from one to the next. Inputs float32 or bfloat16 (mixed as well; computed in float32), double in gradient
// checks; outputs in the type of x. Autograd-aware, memory linear in N. Each has a fast CPU form and a `_plain` twin in
// tensor operations that is its definition; see nn/state_space_rows.h for the same one row at a time. Matrices may be
// column ranges of wider ones (at::split): they are read where they lie.
namespace verbatim::nn {

// y[t, c] = silu(bias[c] + sum_k weight[c, k] x[t - (W - 1) + k, c]), zeros before the start of the sequence. x [N, C],
// weight [C, W] and bias [C] float32. (Depthwise convolution of both Mamba blocks.)
[[nodiscard]] at::Tensor causal_convolution(const at::Tensor& x_NC, const at::Tensor& weight_CW,
                                            const at::Tensor& bias_C, const Sequences& sequences);
[[nodiscard]] at::Tensor causal_convolution_plain(const at::Tensor& x_NC, const at::Tensor& weight_CW,
                                                  const at::Tensor& bias_C, const Sequences& sequences);

// Selective scan of Mamba-1 (arXiv 2312.00752, section 3.3), I channels with S states each:
//   delta = softplus(step)
//   s[t, i, n] = exp(-delta[t, i] exp(log_decay[i, n])) s[t-1, i, n] + delta[t, i] b[t, n] x[t, i]
//   y[t, i] = sum_n c[t, n] s[t, i, n] + skip[i] x[t, i]
// x, step [N, I] (step: its bias already added), log_decay [I, S] float32 ("A_log"), b, c [N, S], skip [I] float32
// ("D"). Returns [N, I].
[[nodiscard]] at::Tensor selective_scan(const at::Tensor& x_NI, const at::Tensor& step_NI,
                                        const at::Tensor& log_decay_IS, const at::Tensor& b_NS, const at::Tensor& c_NS,
                                        const at::Tensor& skip_I, const Sequences& sequences);
[[nodiscard]] at::Tensor selective_scan_plain(const at::Tensor& x_NI, const at::Tensor& step_NI,
                                              const at::Tensor& log_decay_IS, const at::Tensor& b_NS,
                                              const at::Tensor& c_NS, const at::Tensor& skip_I,
                                              const Sequences& sequences);

struct StateSpaceShape {
  int64_t heads = 1;        // H
  int64_t head_width = 64;  // P
  int64_t groups = 1;       // G, divides H
  int64_t state = 128;      // S
};

// State-space duality of Mamba-2 (arXiv 2405.21060, section 6): H heads of P channels with a state of P x S each, one
// decay per head; heads in G groups share b and c, g(h) = h / (H / G).
//   delta = softplus(step)
//   s[t, h] = exp(-delta[t, h] exp(log_decay[h])) s[t-1, h] + delta[t, h] x[t, h] b[t, g(h)]^T
//   y[t, h] = s[t, h] c[t, g(h)] + skip[h] x[t, h]
// x [N, H P], step [N, H] (bias already added), log_decay, skip [H] float32, b, c [N, G S]. Returns [N, H P].
[[nodiscard]] at::Tensor state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                                     const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                                     const Sequences& sequences, const StateSpaceShape& shape);
[[nodiscard]] at::Tensor state_space_plain(const at::Tensor& x_NI, const at::Tensor& step_NH,
                                           const at::Tensor& log_decay_H, const at::Tensor& b_NE,
                                           const at::Tensor& c_NE, const at::Tensor& skip_H, const Sequences& sequences,
                                           const StateSpaceShape& shape);

// The same in tensor operations, chunk by chunk instead of row by row: the path on other devices than the CPU.
[[nodiscard]] at::Tensor state_space_chunks(const at::Tensor& x_NI, const at::Tensor& step_NH,
                                            const at::Tensor& log_decay_H, const at::Tensor& b_NE,
                                            const at::Tensor& c_NE, const at::Tensor& skip_H,
                                            const Sequences& sequences, const StateSpaceShape& shape);

// y = rms_norm(x * silu(gate)) * gain, the norm over each of `groups` equal parts of a row. x, gate [N, I], gain [I]
// float32.
[[nodiscard]] at::Tensor gated_rms_norm(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I,
                                        int64_t groups, double epsilon);
[[nodiscard]] at::Tensor gated_rms_norm_plain(const at::Tensor& x_NI, const at::Tensor& gate_NI,
                                              const at::Tensor& gain_I, int64_t groups, double epsilon);

// Moving average: e[k] = p[k] x[k] + (1 - p[k]) e[k-1], e = 0 before a sequence. x [K, D], p [K] float32 in (0, 1].
// (H-Net's dechunking, arXiv 2507.07955, section 2.2.)
[[nodiscard]] at::Tensor smooth_rows(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences);
[[nodiscard]] at::Tensor smooth_rows_plain(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences);

}  // namespace verbatim::nn
