#pragma once

#include <algorithm>
#include <cstdint>

#include "nn/kernels/register_product.h"
#include "nn/kernels/vector_math.h"

// The products of tiled attention in float32, and the operand layouts they read. bfloat16_tiles.h has the same
// interface for bfloat16. Legend: d' head width padded with zeros; all tiles are 32 query rows by blocks of 32 key
// rows, and scores are kept transposed, [keys][32 queries], so that maxima and sums over keys are lane by lane.
namespace verbatim::nn {

inline constexpr int64_t kTile = 32;

struct FloatTiles {
  using Element = float;
  static constexpr int64_t kWidthStep = 16;  // d' is a multiple of it
  static constexpr ExpAccuracy kExp = ExpAccuracy::kFull;
  static constexpr bool kTransposedCopy = false;  // `transposed` is the same memory layout as `rows`

  struct Session {};  // what a thread needs while it multiplies

  // `staged` [32][d'] is a block of rows in float32, zero where there is no row.
  // rows: left operand of sums over d.
  static void pack_rows(const float* staged, int64_t width, float* out) { std::copy_n(staged, kTile * width, out); }
  // columns [d'][32]: right operand of sums over d.
  static void pack_columns(const float* staged, int64_t width, float* out) {
    for (int64_t c = 0; c < width; c += kLanes) {
      for (int64_t r = 0; r < kTile; r += kLanes) {
        transpose_16x16(reinterpret_cast<const uint32_t*>(staged + r * width + c), width,
                        reinterpret_cast<uint32_t*>(out + c * kTile + r), kTile);
      }
    }
  }
  // pairs [32][d']: right operand of sums over rows.
  static void pack_pairs(const float* staged, int64_t width, float* out) { std::copy_n(staged, kTile * width, out); }
  // transposed: left operand of sums over rows, whose result has d' rows.
  static void pack_transposed(const float* staged, int64_t width, float* out) {
    std::copy_n(staged, kTile * width, out);
  }

  // Two rows of 32 weights (the keys 2i and 2i + 1) as right operand of sums over keys, and as left operand of sums
  // over queries.
  static void put_right(const F32x16 (&even)[2], const F32x16 (&odd)[2], float* out, int64_t pair) {
    put_left(even, odd, out, pair);
  }
  static void put_left(const F32x16 (&even)[2], const F32x16 (&odd)[2], float* out, int64_t pair) {
    float* p = out + pair * 2 * kTile;
    store(p, even[0]);
    store(p + 16, even[1]);
    store(p + 32, odd[0]);
    store(p + 48, odd[1]);
  }

  // c[keys][32] = rows [32 blocks][d'] times columns [d'][32].
  static void scores(const float* rows, const float* columns, int64_t width, int64_t blocks, float* c) {
    for (int64_t m = 0; m < blocks * kTile; m += kProductRows) {
      multiply_row_block<false>(rows + m * width, width, 1, columns, kTile, c + m * kTile, kTile, width, kTile);
    }
  }
  // c[d'][32] += transposed [blocks] times right-hand weights [32 blocks][32].
  static void add_over_keys(const float* transposed, const float* weights, int64_t width, int64_t blocks, float* c) {
    for (int64_t m = 0; m < width; m += kProductRows) {
      multiply_row_block<true>(transposed + m, 1, width, weights, kTile, c + m * kTile, kTile, blocks * kTile, kTile);
    }
  }
  // c[32 blocks][d'] += left-hand weights [32 blocks][32] times pairs [32][d'].
  static void add_over_queries(const float* weights, const float* pairs, int64_t width, int64_t blocks, float* c) {
    for (int64_t m = 0; m < blocks * kTile; m += kProductRows) {
      multiply_row_block<true>(weights + m * kTile, kTile, 1, pairs, width, c + m * width, width, kTile, width);
    }
  }
};

}  // namespace verbatim::nn
