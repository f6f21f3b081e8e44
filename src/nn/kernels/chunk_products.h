#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/kernels/bfloat16_unit.h"
#include "nn/kernels/register_product.h"
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
    for (int64_t m = 0; m < rows; m += kProductRows) {
      multiply_row_block<add>(a.data + m * a.row, a.row, a.depth, b.data, b.stride, c + m * stride, stride, depth,
                              columns);
    }
  }
};

#if defined(VERBATIM_BFLOAT16_UNIT)

// The same with operands rounded to bfloat16 and sums in float32. Prepared operands are copies.
template <class Unit>
struct BFloat16Products {
  using Element = uint16_t;
  static constexpr int64_t kStep = 32;

  using Session = typename Unit::Session;
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
      const UnitLeft left{.data = a.data + m * a.depth, .stride = a.depth, .half = 16 * a.depth, .step = 32};
      for (int64_t n = 0; n < columns; n += 32) {
        const UnitRight right{.data = b.data + 2 * n, .stride = 2 * b.columns, .half = 32, .step = 32 * b.columns};
        Unit::template multiply<add>(left, right, depth / 32, c + m * stride + n, stride);
      }
    }
  }

 private:
  static uint32_t* words(uint16_t* p) { return reinterpret_cast<uint32_t*>(p); }
  // 32 values.
  static void put_row(const float* from, uint16_t* to) {
    _mm512_storeu_si512(to, round_both(load(from), load(from + 16)));
  }
  // 16 values of two rows.
  static void put_pair(const float* from, int64_t stride, uint16_t* to) {
    const auto even = convert<U32x16>(round_to_bfloat16(load(from)));
    const auto odd = convert<U32x16>(round_to_bfloat16(load(from + stride)));
    store_all(to, even | odd << 16);
  }
};

#endif

}  // namespace verbatim::nn
