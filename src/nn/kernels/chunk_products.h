#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/kernels/vector_math.h"

// Products of small matrices that lie in the cache, for the chunks of state_space: c (+)= a b with a [rows, depth],
// b [depth, columns], c [rows, columns], all sizes multiples of kStep. Operands are prepared from float32 matrices, as
// they are or transposed; `room` takes rows * depth or depth * columns elements.
namespace verbatim::nn {

struct FloatProducts {
  using Element = float;
  static constexpr int64_t kStep = 16;

  struct Session {};  // what a thread needs while it multiplies
  struct Left {
    const float* data;
    int64_t row, depth;  // floats from one to the next
    [[nodiscard]] Left at(int64_t m, int64_t k) const { return {data + m * row + k * depth, row, depth}; }
  };
  struct Right {
    const float* data;
    int64_t stride;
    [[nodiscard]] Right at(int64_t k) const { return {data + k * stride, stride}; }
  };

  static Left left(const float* a, int64_t stride, int64_t /*rows*/, int64_t /*depth*/, float* /*room*/) {
    return {a, stride, 1};
  }
  // From a^T [depth, rows].
  static Left left_transposed(const float* a, int64_t stride, int64_t /*rows*/, int64_t /*depth*/, float* /*room*/) {
    return {a, 1, stride};
  }
  static Right right(const float* b, int64_t stride, int64_t /*depth*/, int64_t /*columns*/, float* /*room*/) {
    return {b, stride};
  }
  // From b^T [columns, depth].
  static Right right_transposed(const float* b, int64_t stride, int64_t depth, int64_t columns, float* room) {
    for (int64_t n = 0; n < columns; n += kLanes) {
      for (int64_t k = 0; k < depth; k += kLanes) {
        transpose_16x16(reinterpret_cast<const uint32_t*>(b + n * stride + k), stride,
                        reinterpret_cast<uint32_t*>(room + k * columns + n), columns);
      }
    }
    return {room, columns};
  }

  template <bool add>
  static void multiply(const Left& a, const Right& b, int64_t rows, int64_t columns, int64_t depth, float* c,
                       int64_t stride) {
    int64_t n = 0;
    for (; n + 2 * kLanes <= columns; n += 2 * kLanes) block<2, add>(a, b, n, rows, depth, c, stride);
    if (n < columns) block<1, add>(a, b, n, rows, depth, c, stride);
  }

 private:
  static constexpr int64_t kRows = 8;

  template <int V, bool add>
  static void block(const Left& a, const Right& b, int64_t n, int64_t rows, int64_t depth, float* c, int64_t stride) {
    for (int64_t m = 0; m < rows; m += kRows) {
      const float* from = a.data + m * a.row;
      float* to = c + m * stride + n;
      F32x16 sum[kRows][V];
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[i][v] = add ? load(to + i * stride + v * kLanes) : F32x16{};
      }
      for (int64_t k = 0; k < depth; ++k) {
        F32x16 right[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) right[v] = load(b.data + k * b.stride + n + v * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const float left = from[i * a.row + k * a.depth];
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) sum[i][v] += left * right[v];
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) store(to + i * stride + v * kLanes, sum[i][v]);
      }
    }
  }
};

}  // namespace verbatim::nn
