#pragma once

#include <cstdint>
#include <span>

#include "nn/attention_cache.h"

// Stepwise decoding on the CPU: a few rows at a time, float32, no tensors and no operator overhead. Each function
// equals its tensor counterpart. Row-major throughout; R rows, D width, E output width.
namespace verbatim::nn {

// y = x W^T. x [R, D], weight [E, D], y [R, E]. One row is a matrix-vector product at memory bandwidth, many rows a
// matrix product.
void multiply_rows(const float* x_RD, const float* weight_ED, float* y_RE, int64_t rows, int64_t width, int64_t out);

// y = x * rsqrt(mean(x^2) + epsilon) * gain, row by row. x and y may be the same.
void rms_norm_rows(const float* x_RD, const float* gain_D, float* y_RD, int64_t rows, int64_t width, double epsilon);

// y = (x - mean) * rsqrt(variance + epsilon) * gain + shift, row by row; a null shift adds nothing. x and y may be the
// same.
void layer_norm_rows(const float* x_RD, const float* gain_D, const float* shift_D, float* y_RD, int64_t rows,
                     int64_t width, double epsilon);

// y = x * rsqrt(variance + epsilon) * gain, row by row: the mean takes part in the variance only. x and y may be the
// same.
void deviation_norm_rows(const float* x_RD, const float* gain_D, float* y_RD, int64_t rows, int64_t width,
                         double epsilon);

// x * Phi(x) in place, Phi the normal distribution (GELU with erf).
void gelu_rows(float* x, int64_t count);
// The same with Phi(x) taken as (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
void gelu_tanh_rows(float* x, int64_t count);
// max(x, 0) in place.
void relu_rows(float* x, int64_t count);
// x * sigmoid(x) in place.
void silu_rows(float* x, int64_t count);

// silu(gate) * up: gate_up [R, 2F] to y [R, F].
void swiglu_rows(const float* gate_up_R2F, float* y_RF, int64_t rows, int64_t hidden);

void add_rows(float* x, const float* y, int64_t count);

// Turns the pairs of each head by the angles of one row: cosine and sine [d/2]. heads [H, d], halves paired (i, i +
// d/2).
void rotate_heads(float* heads_Hd, int64_t heads, int64_t head_width, const float* cosine, const float* sine);

// Angles of row `position`: cosine and sine of position * frequency[i], one for each pair of columns.
void rotary_angles(int64_t position, std::span<const double> frequencies, float* cosine, float* sine);

// Appends one row of keys and values [G, d] and attends with the queries [H, d] over what the window still holds
// (window 0: everything). Writes [H, d]; the result may take the place of the queries.
void attend_row(AttentionCache& cache, const float* query_Hd, const float* key_Gd, const float* value_Gd, float* out_Hd,
                int64_t heads, int64_t key_value_heads, int64_t head_width, int64_t window);

// The same for R rows of one stream in order, [R, H d] and [R, G d]; the result takes the place of the queries.
void attend_stretch(AttentionCache& cache, float* query_RHd, const float* key_RGd, const float* value_RGd, int64_t rows,
                    int64_t heads, int64_t key_value_heads, int64_t head_width, int64_t window);

// Attention of Q query rows [Q, H d] over K key rows, all of them; kv [K, 2 H d] holds keys, then values. Writes [Q, H
// d].
void attend_rows(const float* query_QE, int64_t queries, const float* kv_K2E, int64_t keys, float* out_QE,
                 int64_t heads, int64_t head_width);

}  // namespace verbatim::nn
