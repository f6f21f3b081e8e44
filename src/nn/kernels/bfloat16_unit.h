#pragma once

#include <cstdint>

// What multiplies bfloat16 values and adds in float32: the matrix unit (AMX), or AVX-512's dot products of pairs. Both
// take blocks of 32 x 32 results and read the same operands, so that packing and tiling are written once.
namespace verbatim::nn {

// Whether this program was compiled for, and this machine grants, the matrix unit.
[[nodiscard]] bool amx_is_available();

}  // namespace verbatim::nn

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define VERBATIM_BFLOAT16_UNIT 1

#include <immintrin.h>

#include "nn/kernels/vector_math.h"

#if defined(__AMX_BF16__) && defined(__linux__)
#define VERBATIM_AMX 1
#endif

namespace verbatim::nn {

inline constexpr int64_t kUnitEdge = 32;  // rows and columns of a block, and depth of one step

// The 32 rows of a block's left operand, the depth running within a row. All distances in values.
struct UnitLeft {
  const uint16_t* data;
  int64_t stride;  // from row to row
  int64_t half;    // from row 0 to row 16
  int64_t step;    // from one step of the depth to the next
};

// The 32 columns of its right operand: pairs of rows, the two values of a column side by side.
struct UnitRight {
  const uint16_t* data;
  int64_t stride;  // from pair to pair
  int64_t half;    // from column 0 to column 16
  int64_t step;
};

// Two vectors of floats, rounded, `low` first.
inline __m512i round_both(F32x16 low, F32x16 high) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low); }

// Dot products of pairs in vector registers: 8 rows by 32 columns at a time.
struct VectorUnit {
  struct Session {};  // what a thread needs while it multiplies

  // c [32][32], rows `stride` floats apart, (+)= left right.
  template <bool add>
  static void multiply(const UnitLeft& left, const UnitRight& right, int64_t steps, float* c, int64_t stride) {
    for (int64_t row = 0; row < kUnitEdge; row += kRows) {
      multiply_rows<add>(left.data + row / 16 * left.half + row % 16 * left.stride, left, right, steps,
                         c + row * stride, stride);
    }
  }

 private:
  static constexpr int kRows = 8;

  template <bool add>
  static void multiply_rows(const uint16_t* rows, const UnitLeft& left, const UnitRight& right, int64_t steps, float* c,
                            int64_t stride) {
    __m512 sum[kRows][2];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      sum[i][0] = add ? _mm512_loadu_ps(c + i * stride) : _mm512_setzero_ps();
      sum[i][1] = add ? _mm512_loadu_ps(c + i * stride + 16) : _mm512_setzero_ps();
    }
    for (int64_t step = 0; step < steps; ++step) {
      const uint16_t* a = rows + step * left.step;
      const uint16_t* b = right.data + step * right.step;
      for (int64_t pair = 0; pair < kUnitEdge / 2; ++pair) {
        const auto low = (__m512bh)_mm512_loadu_si512(b + pair * right.stride);
        const auto high = (__m512bh)_mm512_loadu_si512(b + pair * right.stride + right.half);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          int32_t both;
          std::memcpy(&both, a + i * left.stride + 2 * pair, sizeof(both));
          const auto values = (__m512bh)_mm512_set1_epi32(both);
          sum[i][0] = _mm512_dpbf16_ps(sum[i][0], values, low);
          sum[i][1] = _mm512_dpbf16_ps(sum[i][1], values, high);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      _mm512_storeu_ps(c + i * stride, sum[i][0]);
      _mm512_storeu_ps(c + i * stride + 16, sum[i][1]);
    }
  }
};

#if defined(VERBATIM_AMX)

// Tile registers 0 to 3 hold the block, 4 and 5 its left operand, 6 and 7 its right operand. Own assembly instead of
// the compiler's intrinsics, because those do not tell it that memory is read and written.
struct AmxUnit {
  // All eight tile registers as 16 rows of 64 bytes, given back at the end: other libraries configure their own.
  struct Session {
    Session() {
      struct alignas(64) {
        uint8_t palette = 1;
        uint8_t start_row = 0;
        uint8_t reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
      } config;
      asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
    }
    ~Session() { asm volatile("tilerelease" : : : "memory"); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  template <bool add>
  static void multiply(const UnitLeft& left, const UnitRight& right, int64_t steps, float* c, int64_t stride) {
    if constexpr (add) {
      load_tile<0>(c, 4 * stride);
      load_tile<1>(c + 16, 4 * stride);
      load_tile<2>(c + 16 * stride, 4 * stride);
      load_tile<3>(c + 16 * stride + 16, 4 * stride);
    } else {
      asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" : : : "memory");
    }
    const uint16_t* a = left.data;
    const uint16_t* b = right.data;
    for (int64_t step = 0; step < steps; ++step) {
      load_tile<4>(a, 2 * left.stride);
      load_tile<6>(b, 2 * right.stride);
      load_tile<7>(b + right.half, 2 * right.stride);
      load_tile<5>(a + left.half, 2 * left.stride);
      asm volatile(
          "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
          "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
          "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
          "tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
          :
          :
          : "memory");
      a += left.step;
      b += right.step;
    }
    store_tile<0>(c, 4 * stride);
    store_tile<1>(c + 16, 4 * stride);
    store_tile<2>(c + 16 * stride, 4 * stride);
    store_tile<3>(c + 16 * stride + 16, 4 * stride);
  }

 private:
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

// Calls f with the faster unit of this machine.
template <class F>
auto with_bfloat16_unit(F&& f) {
#if defined(VERBATIM_AMX)
  if (amx_is_available()) return f(AmxUnit{});
#endif
  return f(VectorUnit{});
}

}  // namespace verbatim::nn
#endif
