#pragma once

#include <cstdint>

// Stepwise twins of kernels/state_space.h, float32 on the CPU, no tensors: one stream, R rows in order, going on from a
// state and leaving the state behind the last row; all zeros is the state before the first row. Row-major. `*_stride`:
// floats from one row to the next. C or I channels, W kernel width, S states, H heads of P channels in G groups, E = G
// S.
namespace verbatim::nn {

// window [C, W - 1]: the last W - 1 inputs of each channel, oldest first. x and y may be the same. Where a trail is
// given, here and below, it takes the window (the states) behind each row.
void causal_convolution_rows(const float* x_RC, int64_t x_stride, const float* weight_CW, const float* bias_C,
                             float* window, float* y_RC, int64_t y_stride, int64_t rows, int64_t channels,
                             int64_t kernel_width, float* trail = nullptr);

// state [I, S]. x and y may be the same.
void selective_scan_rows(const float* x_RI, const float* step_RI, const float* log_decay_IS, const float* b_RS,
                         int64_t b_stride, const float* c_RS, int64_t c_stride, const float* skip_I, float* state_IS,
                         float* y_RI, int64_t rows, int64_t channels, int64_t state, float* trail_RIS = nullptr);

// state [H, P, S]; x, b and c have strides because they are parts of one row. x and y may be the same.
void state_space_rows(const float* x_RI, int64_t x_stride, const float* step_RH, int64_t step_stride,
                      const float* log_decay_H, const float* b_RE, int64_t b_stride, const float* c_RE,
                      int64_t c_stride, const float* skip_H, float* state_HPS, float* y_RI, int64_t y_stride,
                      int64_t rows, int64_t heads, int64_t head_width, int64_t groups, int64_t state,
                      float* trail_RHPS = nullptr);

// y = rms_norm(x * silu(gate)) * gain per group; x [R, I] and y may be the same.
void gated_rms_norm_rows(const float* x_RI, const float* gate_RI, int64_t gate_stride, const float* gain_I, float* y_RI,
                         int64_t rows, int64_t width, int64_t groups, double epsilon);

}  // namespace verbatim::nn
