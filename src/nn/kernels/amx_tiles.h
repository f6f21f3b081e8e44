#pragma once

#include <cstdint>

// Whether this program was compiled for, and this machine grants, the bfloat16 matrix unit (AMX).
namespace verbatim::nn {
[[nodiscard]] bool amx_is_available();
}  // namespace verbatim::nn

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__linux__)
#define VERBATIM_AMX 1

#include <immintrin.h>

#include "nn/kernels/tile_products.h"

namespace verbatim::nn {

// The products of tiled attention on AMX: operands in bfloat16, sums in float32. Same interface as FloatTiles. The unit
// multiplies 16 rows of 32 values (left) by 16 pairs of rows, the two values of a pair side by side (right).
struct AmxTiles {
  using Element = uint16_t;
  static constexpr int64_t kWidthStep = 32;
  static constexpr ExpAccuracy kExp = ExpAccuracy::kBFloat16;
  static constexpr bool kTransposedCopy = true;

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

  // rows [32][d']
  static void pack_rows(const float* staged, int64_t width, uint16_t* out) {
    for (int64_t i = 0; i < kTile * width; i += 32) {
      const auto both = _mm512_cvtne2ps_pbh((__m512)load(staged + i + 16), (__m512)load(staged + i));
      _mm512_storeu_si512(out + i, (__m512i)both);
    }
  }
  // columns [d'/2][32][2]
  static void pack_columns(const float* staged, int64_t width, uint16_t* out) {
    for (int64_t c = 0; c < width; c += 32) {
      alignas(64) uint16_t rows[kTile * 32];
      for (int64_t r = 0; r < kTile; ++r) {
        const float* p = staged + r * width + c;
        const auto both = _mm512_cvtne2ps_pbh((__m512)load(p + 16), (__m512)load(p));
        _mm512_store_si512(rows + r * 32, (__m512i)both);
      }
      for (int64_t r = 0; r < kTile; r += 16) {
        transpose_16x16(words(rows + r * 32), 16, words(out) + (c / 2) * kTile + r, kTile);
      }
    }
  }
  // pairs [16][d'][2]
  static void pack_pairs(const float* staged, int64_t width, uint16_t* out) {
    for (int64_t r = 0; r < kTile; r += 2) {
      for (int64_t c = 0; c < width; c += 16) {
        put_pair(load(staged + r * width + c), load(staged + (r + 1) * width + c), out + r * width + 2 * c);
      }
    }
  }
  // transposed [d'][32]
  static void pack_transposed(const float* staged, int64_t width, uint16_t* out) {
    alignas(64) uint16_t pairs[kTile * 16];
    for (int64_t c = 0; c < width; c += 16) {
      for (int64_t r = 0; r < kTile; r += 2) {
        put_pair(load(staged + r * width + c), load(staged + (r + 1) * width + c), pairs + r * 16);
      }
      transpose_16x16(words(pairs), 16, words(out + c * kTile), 16);
    }
  }

  // right: [keys/2][32][2]
  static void put_right(const F32x16 (&even)[2], const F32x16 (&odd)[2], uint16_t* out, int64_t pair) {
    put_pair(even[0], odd[0], out + pair * 64);
    put_pair(even[1], odd[1], out + pair * 64 + 32);
  }
  // left: [keys][32]
  static void put_left(const F32x16 (&even)[2], const F32x16 (&odd)[2], uint16_t* out, int64_t pair) {
    _mm512_storeu_si512(out + pair * 64, (__m512i)_mm512_cvtne2ps_pbh((__m512)even[1], (__m512)even[0]));
    _mm512_storeu_si512(out + pair * 64 + 32, (__m512i)_mm512_cvtne2ps_pbh((__m512)odd[1], (__m512)odd[0]));
  }

  static void scores(const uint16_t* rows, const uint16_t* columns, int64_t width, int64_t blocks, float* c) {
    for (int64_t block = 0; block < blocks; ++block) {
      const uint16_t* left = rows + block * kTile * width;
      zero();
      for (int64_t k = 0; k < width; k += 32) {
        load_tile<4>(left + k, 2 * width);
        load_tile<5>(left + 16 * width + k, 2 * width);
        load_tile<6>(columns + k * kTile, 4 * kTile);
        load_tile<7>(columns + k * kTile + 32, 4 * kTile);
        multiply();
      }
      put(c + block * kTile * kTile, kTile);
    }
  }
  static void add_over_keys(const uint16_t* transposed, const uint16_t* weights, int64_t width, int64_t blocks,
                            float* c) {
    for (int64_t m = 0; m < width; m += 32) {
      get(c + m * kTile, kTile);
      for (int64_t block = 0; block < blocks; ++block) {
        const uint16_t* left = transposed + (block * width + m) * kTile;
        load_tile<4>(left, 64);
        load_tile<5>(left + 16 * kTile, 64);
        load_tile<6>(weights + block * kTile * kTile, 4 * kTile);
        load_tile<7>(weights + block * kTile * kTile + 32, 4 * kTile);
        multiply();
      }
      put(c + m * kTile, kTile);
    }
  }
  static void add_over_queries(const uint16_t* weights, const uint16_t* pairs, int64_t width, int64_t blocks,
                               float* c) {
    for (int64_t block = 0; block < blocks; ++block) {
      load_tile<4>(weights + block * kTile * kTile, 2 * kTile);
      load_tile<5>(weights + block * kTile * kTile + 16 * kTile, 2 * kTile);
      for (int64_t n = 0; n < width; n += 32) {
        float* out = c + block * kTile * width + n;
        get(out, width);
        load_tile<6>(pairs + 2 * n, 4 * width);
        load_tile<7>(pairs + 2 * n + 32, 4 * width);
        multiply();
        put(out, width);
      }
    }
  }

 private:
  static uint32_t* words(uint16_t* p) { return reinterpret_cast<uint32_t*>(p); }

  // The values of two rows side by side: even in the lower half of each word.
  static void put_pair(F32x16 even, F32x16 odd, uint16_t* out) {
    alignas(64) static constexpr uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const auto both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_load_si512(kInterleave), both));
  }

  // Tiles 0 to 3 hold a 32 x 32 result, 4 and 5 its left operand, 6 and 7 its right operand. Own assembly instead of
  // the compiler's intrinsics, because those do not tell it that memory is read and written.
  template <int tile>
  static void load_tile(const void* p, int64_t stride_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  static void store_tile(void* p, int64_t stride_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride_bytes), "i"(tile) : "memory");
  }
  static void zero() {
    asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" : : : "memory");
  }
  static void multiply() {
    asm volatile(
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
        "tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
        :
        :
        : "memory");
  }
  static void get(const float* c, int64_t stride) {
    load_tile<0>(c, 4 * stride);
    load_tile<1>(c + 16, 4 * stride);
    load_tile<2>(c + 16 * stride, 4 * stride);
    load_tile<3>(c + 16 * stride + 16, 4 * stride);
  }
  static void put(float* c, int64_t stride) {
    store_tile<0>(c, 4 * stride);
    store_tile<1>(c + 16, 4 * stride);
    store_tile<2>(c + 16 * stride, 4 * stride);
    store_tile<3>(c + 16 * stride + 16, 4 * stride);
  }
};

}  // namespace verbatim::nn
#endif
