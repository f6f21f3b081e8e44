#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/kernels/amx_tiles.h"
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

  static void keep(const float* from, int64_t count, float* to) { std::copy_n(from, count, to); }
  static void restore(const float* from, int64_t count, float* to) { std::copy_n(from, count, to); }

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

#if defined(VERBATIM_AMX)

// The same with operands rounded to bfloat16 and sums in float32, on the matrix unit. Prepared operands are copies.
struct AmxProducts {
  using Element = uint16_t;
  static constexpr int64_t kStep = 32;

  using Session = AmxTiles::Session;
  // Row-major.
  struct Left {
    const uint16_t* data;
    int64_t depth;
    [[nodiscard]] Left at(int64_t m, int64_t k) const { return {data + m * depth + k, depth}; }
  };
  // Pairs of rows, the two values of a column side by side.
  struct Right {
    const uint16_t* data;
    int64_t columns;
    [[nodiscard]] Right at(int64_t k) const { return {data + k * columns, columns}; }
  };

  static Left left(const float* a, int64_t stride, int64_t rows, int64_t depth, uint16_t* room) {
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t k = 0; k < depth; k += 32) put_row(a + m * stride + k, room + m * depth + k);
    }
    return {room, depth};
  }
  static Left left_transposed(const float* a, int64_t stride, int64_t rows, int64_t depth, uint16_t* room) {
    alignas(64) uint16_t pairs[16 * 32];
    for (int64_t m = 0; m < rows; m += 16) {
      for (int64_t k = 0; k < depth; k += 32) {
        for (int64_t i = 0; i < 16; ++i) put_pair(a + (k + 2 * i) * stride + m, stride, pairs + i * 32);
        transpose_16x16(words(pairs), 16, words(room + m * depth + k), depth / 2);
      }
    }
    return {room, depth};
  }
  static Right right(const float* b, int64_t stride, int64_t depth, int64_t columns, uint16_t* room) {
    for (int64_t k = 0; k < depth; k += 2) {
      for (int64_t n = 0; n < columns; n += 16) put_pair(b + k * stride + n, stride, room + k * columns + 2 * n);
    }
    return {room, columns};
  }
  static Right right_transposed(const float* b, int64_t stride, int64_t depth, int64_t columns, uint16_t* room) {
    alignas(64) uint16_t rows[16 * 32];
    for (int64_t n = 0; n < columns; n += 16) {
      for (int64_t k = 0; k < depth; k += 32) {
        for (int64_t i = 0; i < 16; ++i) put_row(b + (n + i) * stride + k, rows + i * 32);
        transpose_16x16(words(rows), 16, words(room + k * columns + 2 * n), columns);
      }
    }
    return {room, columns};
  }

  static void keep(const float* from, int64_t count, uint16_t* to) {
    for (int64_t i = 0; i < count; i += kLanes) store(to + i, load(from + i));
  }
  static void restore(const uint16_t* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; i += kLanes) store(to + i, load(from + i));
  }

  template <bool add>
  static void multiply(const Left& a, const Right& b, int64_t rows, int64_t columns, int64_t depth, float* c,
                       int64_t stride) {
    for (int64_t m = 0; m < rows; m += 32) {
      for (int64_t n = 0; n < columns; n += 32) {
        float* to = c + m * stride + n;
        if constexpr (add) {
          load_tile<0>(to, 4 * stride);
          load_tile<1>(to + 16, 4 * stride);
          load_tile<2>(to + 16 * stride, 4 * stride);
          load_tile<3>(to + 16 * stride + 16, 4 * stride);
        } else {
          asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" : : : "memory");
        }
        for (int64_t k = 0; k < depth; k += 32) {
          load_tile<4>(a.data + m * a.depth + k, 2 * a.depth);
          load_tile<5>(a.data + (m + 16) * a.depth + k, 2 * a.depth);
          load_tile<6>(b.data + k * b.columns + 2 * n, 4 * b.columns);
          load_tile<7>(b.data + k * b.columns + 2 * n + 32, 4 * b.columns);
          asm volatile(
              "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
              "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
              "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
              "tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
              :
              :
              : "memory");
        }
        store_tile<0>(to, 4 * stride);
        store_tile<1>(to + 16, 4 * stride);
        store_tile<2>(to + 16 * stride, 4 * stride);
        store_tile<3>(to + 16 * stride + 16, 4 * stride);
      }
    }
  }

 private:
  static uint32_t* words(uint16_t* p) { return reinterpret_cast<uint32_t*>(p); }
  // 32 values.
  static void put_row(const float* from, uint16_t* to) {
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)load(from + 16), (__m512)load(from)));
  }
  // 16 values of two rows.
  static void put_pair(const float* from, int64_t stride, uint16_t* to) {
    const auto even = __builtin_convertvector(round_to_bfloat16(load(from)), U32x16);
    const auto odd = __builtin_convertvector(round_to_bfloat16(load(from + stride)), U32x16);
    const U32x16 both = even | odd << 16;
    std::memcpy(to, &both, sizeof(both));
  }

  // Tiles 0 to 3 hold a 32 x 32 result, 4 and 5 its left operand, 6 and 7 its right operand. Own assembly: the
  // compiler's intrinsics do not tell it that memory is read and written.
  template <int tile>
  static void load_tile(const void* p, int64_t stride_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  static void store_tile(void* p, int64_t stride_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride_bytes), "i"(tile) : "memory");
  }
};

#endif

}  // namespace verbatim::nn
