#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/kernels/vectors.h"

// The innermost product in float32: a few rows by a few vectors of columns, whose sums stay in registers.
namespace verbatim::nn {

inline constexpr int kProductRows = kFillsRegister ? 8 : 4;
inline constexpr int kProductVectors = kFillsRegister ? 2 : 1;

// c[kProductRows][16 V] (+)= sum over k of a(m, k) b[k][16 V], for V <= kProductVectors. Strides in floats.
template <int V, bool add>
void multiply_registers(const float* a, int64_t a_m, int64_t a_k, const float* b, int64_t b_stride, float* c,
                        int64_t c_stride, int64_t depth) {
  F32x16 sum[kProductRows][V];
#pragma GCC unroll 8
  for (int m = 0; m < kProductRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[m][v] = add ? load_as<F32x16>(c + m * c_stride + v * kLanes) : F32x16{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    F32x16 right[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) hold(right[v] = load_as<F32x16>(b + k * b_stride + v * kLanes));
#pragma GCC unroll 8
    for (int m = 0; m < kProductRows; ++m) {
      const float left = a[m * a_m + k * a_k];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[m][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kProductRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store_all(c + m * c_stride + v * kLanes, sum[m][v]);
  }
}

// The same for any number of vectors.
template <bool add>
void multiply_row_block(const float* a, int64_t a_m, int64_t a_k, const float* b, int64_t b_stride, float* c,
                        int64_t c_stride, int64_t depth, int64_t columns) {
  constexpr int64_t kColumns = kProductVectors * kLanes;
  int64_t n = 0;
  for (; n + kColumns <= columns; n += kColumns) {
    multiply_registers<kProductVectors, add>(a, a_m, a_k, b + n, b_stride, c + n, c_stride, depth);
  }
  for (; n < columns; n += kLanes) {
    multiply_registers<1, add>(a, a_m, a_k, b + n, b_stride, c + n, c_stride, depth);
  }
}

}  // namespace verbatim::nn
