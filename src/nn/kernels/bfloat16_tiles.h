#pragma once

#include "nn/kernels/bfloat16_unit.h"
#include "nn/kernels/tile_products.h"

#if defined(VERBATIM_BFLOAT16_UNIT)

namespace verbatim::nn {

// The products of tiled attention with operands in bfloat16 and sums in float32. Same interface as FloatTiles.
template <class Unit>
struct BFloat16Tiles {
  using Element = uint16_t;
  static constexpr int64_t kWidthStep = 32;
  static constexpr ExpAccuracy kExp = ExpAccuracy::kBFloat16;
  static constexpr bool kTransposedCopy = true;

  using Session = typename Unit::Session;

  // rows [32][d']
  static void pack_rows(const float* staged, int64_t width, uint16_t* out) {
    for (int64_t i = 0; i < kTile * width; i += 32) {
      _mm512_storeu_si512(out + i, round_both(load(staged + i), load(staged + i + 16)));
    }
  }
  // columns [d'/2][32][2]
  static void pack_columns(const float* staged, int64_t width, uint16_t* out) {
    for (int64_t c = 0; c < width; c += 32) {
      alignas(64) uint16_t rows[kTile * 32];
      for (int64_t r = 0; r < kTile; ++r) {
        const float* p = staged + r * width + c;
        _mm512_store_si512(rows + r * 32, round_both(load(p), load(p + 16)));
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
    _mm512_storeu_si512(out + pair * 64, round_both(even[0], even[1]));
    _mm512_storeu_si512(out + pair * 64 + 32, round_both(odd[0], odd[1]));
  }

  static void scores(const uint16_t* rows, const uint16_t* columns, int64_t width, int64_t blocks, float* c) {
    const UnitRight right{.data = columns, .stride = 2 * kTile, .half = 32, .step = 32 * kTile};
    for (int64_t block = 0; block < blocks; ++block) {
      const UnitLeft left{.data = rows + block * kTile * width, .stride = width, .half = 16 * width, .step = 32};
      Unit::template multiply<false>(left, right, width / 32, c + block * kTile * kTile, kTile);
    }
  }
  static void add_over_keys(const uint16_t* transposed, const uint16_t* weights, int64_t width, int64_t blocks,
                            float* c) {
    const UnitRight right{.data = weights, .stride = 2 * kTile, .half = 32, .step = kTile * kTile};
    for (int64_t m = 0; m < width; m += 32) {
      const UnitLeft left{.data = transposed + m * kTile, .stride = kTile, .half = 16 * kTile, .step = width * kTile};
      Unit::template multiply<true>(left, right, blocks, c + m * kTile, kTile);
    }
  }
  static void add_over_queries(const uint16_t* weights, const uint16_t* pairs, int64_t width, int64_t blocks,
                               float* c) {
    for (int64_t block = 0; block < blocks; ++block) {
      const UnitLeft left{
          .data = weights + block * kTile * kTile, .stride = kTile, .half = 16 * kTile, .step = kTile * kTile};
      for (int64_t n = 0; n < width; n += 32) {
        const UnitRight right{.data = pairs + 2 * n, .stride = 2 * width, .half = 32, .step = 0};
        Unit::template multiply<true>(left, right, 1, c + block * kTile * width + n, width);
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
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_load_si512(kInterleave), round_both(even, odd)));
  }
};

}  // namespace verbatim::nn
#endif
