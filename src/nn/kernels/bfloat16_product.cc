#include "nn/kernels/bfloat16_product.h"

#include <algorithm>

#include "base/error.h"
#include "nn/kernels/bfloat16_unit.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/torch.h"

// Blocks of 32 x 32 results (bfloat16_unit.h). A packed operand is a sequence of double tiles, 32 by 32 values or 2 kB
// each, in the order they are read: a left one as two halves of 16 rows, a right one as two halves of 16 columns; what
// lies beyond the matrix is zero.
namespace verbatim::nn {

#if defined(VERBATIM_BFLOAT16_UNIT)

namespace {

constexpr int64_t kEdge = kUnitEdge;        // rows or columns of a double tile, and depth of one step
constexpr int64_t kDouble = kEdge * kEdge;  // its values
constexpr int64_t kHalf = kDouble / 2;      // values of one tile
constexpr int64_t kRowsPerTask = 128;       // of x: its part of x stays in the cache while the weight streams by
constexpr int64_t kMostStepsAtOnce = 32;    // of the depth; a longer one is taken
constexpr int64_t kStepsPerPiece = 16;      //   in pieces of this size,
constexpr int64_t kColumnsPerPiece = 512;   //   for this many columns, whose sums are kept in between
constexpr int64_t kLeftPerTask = 256;       // weight gradient: rows and columns of the result per task,
constexpr int64_t kRightPerTask = 512;      //   together with the packed operands within the second level cache
constexpr int64_t kDepthPerChunk = 256;     // rows of both operands that are packed at a time
constexpr int64_t kLeastTasks = 8;          // below that the depth is cut too

int64_t steps_of(int64_t size) { return (size + kEdge - 1) / kEdge; }

uint16_t* bits_of(const at::Tensor& x) { return reinterpret_cast<uint16_t*>(x.data_ptr<at::BFloat16>()); }

at::Tensor new_buffer(int64_t values, at::ScalarType type) { return at::empty({values}, at::TensorOptions(type)); }

UnitLeft packed_left(const uint16_t* values) { return {.data = values, .stride = 32, .half = kHalf, .step = kDouble}; }

UnitRight packed_right(const uint16_t* values) {
  return {.data = values, .stride = 32, .half = kHalf, .step = kDouble};
}

// ---- packing ----

// lanes of [at, at + 16) that lie before `end`
int64_t lanes_before(int64_t at, int64_t end) { return std::clamp<int64_t>(end - at, 0, kLanes); }

template <class T>
F32x16 load_before(const T* row, int64_t at, int64_t end) {
  return at + kLanes <= end ? load(row + at, AllLanes{}) : load(row + at, lanes_before(at, end));
}

constexpr uint16_t kFirstPairs[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

struct Pairs {
  __m512i first;   // columns 0 to 15 of two rows, side by side
  __m512i second;  // columns 16 to 31
};

Pairs interleave(__m512i even, __m512i odd) {
  const __m512i first = _mm512_loadu_si512(kFirstPairs);
  const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  return {.first = _mm512_permutex2var_epi16(even, first, odd), .second = _mm512_permutex2var_epi16(even, second, odd)};
}

// Right operand W^T: depth D, columns E.
template <class T>
void pack_transposed_weight(const T* weight, int64_t outputs, int64_t width, uint16_t* packed) {
  const int64_t steps = steps_of(width);
  for_rows(steps_of(outputs), kEdge * width, [&](int64_t first, int64_t last) {
    alignas(64) uint32_t rows[16 * 16];
    for (int64_t block = first; block < last; ++block) {
      for (int64_t step = 0; step < steps; ++step) {
        for (int64_t half = 0; half < 2; ++half) {
          for (int64_t r = 0; r < 16; ++r) {
            const int64_t e = block * kEdge + half * 16 + r;
            __m512i both = _mm512_setzero_si512();
            if (e < outputs) {
              const T* row = weight + e * width;
              both = round_both(load_before(row, step * kEdge, width), load_before(row, step * kEdge + 16, width));
            }
            _mm512_store_si512(rows + r * 16, both);
          }
          uint16_t* out = packed + (block * steps + step) * kDouble + half * kHalf;
          transpose_16x16(rows, 16, reinterpret_cast<uint32_t*>(out), 16);
        }
      }
    }
  });
}

// Right operand W: depth E, columns D.
template <class T>
void pack_weight(const T* weight, int64_t outputs, int64_t width, uint16_t* packed) {
  const int64_t steps = steps_of(outputs);
  for_rows(steps_of(width), kEdge * outputs, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t column = block * kEdge;
      const auto row_of = [&](int64_t e) {
        if (e >= outputs) return _mm512_setzero_si512();
        const T* row = weight + e * width;
        return round_both(load_before(row, column, width), load_before(row, column + 16, width));
      };
      for (int64_t pair = 0; pair < steps * 16; ++pair) {
        const Pairs pairs = interleave(row_of(2 * pair), row_of(2 * pair + 1));
        uint16_t* out = packed + (block * steps + pair / 16) * kDouble + (pair % 16) * 32;
        _mm512_store_si512(out, pairs.first);
        _mm512_store_si512(out + kHalf, pairs.second);
      }
    }
  });
}

// Left operand: up to 32 rows as they are, `width` values of each; rows lie `stride` values apart.
void pack_rows(const uint16_t* rows, int64_t count, int64_t stride, int64_t width, uint16_t* packed) {
  for (int64_t step = 0; step < steps_of(width); ++step) {
    const int64_t columns = std::min(kEdge, width - step * kEdge);
    const __mmask32 mask = static_cast<__mmask32>(columns == kEdge ? ~0U : (1U << columns) - 1);
    for (int64_t r = 0; r < kEdge; ++r) {
      const __m512i values =
          r < count ? _mm512_maskz_loadu_epi16(mask, rows + r * stride + step * kEdge) : _mm512_setzero_si512();
      _mm512_store_si512(packed + step * kDouble + r * kEdge, values);
    }
  }
}

enum class Side { kLeft, kRight };

// One step of the depth: rows [n, n + 32) before `end`. Columns [column, column + 32) become the rows of a left or the
// columns of a right operand.
template <Side side>
void pack_step(const uint16_t* matrix, int64_t width, int64_t n, int64_t end, int64_t column, uint16_t* packed) {
  const int64_t columns = std::min(kEdge, width - column);
  const __mmask32 mask = static_cast<__mmask32>(columns == kEdge ? ~0U : (1U << columns) - 1);
  const auto row_of = [&](int64_t row) {
    return row < end ? _mm512_maskz_loadu_epi16(mask, matrix + row * width + column) : _mm512_setzero_si512();
  };
  alignas(64) uint32_t words[2][16 * 16];
  for (int64_t r = 0; r < 16; ++r) {
    const Pairs pairs = interleave(row_of(n + 2 * r), row_of(n + 2 * r + 1));
    if constexpr (side == Side::kRight) {
      _mm512_store_si512(packed + r * 32, pairs.first);
      _mm512_store_si512(packed + kHalf + r * 32, pairs.second);
    } else {
      _mm512_store_si512(words[0] + r * 16, pairs.first);
      _mm512_store_si512(words[1] + r * 16, pairs.second);
    }
  }
  if constexpr (side == Side::kLeft) {
    transpose_16x16(words[0], 16, reinterpret_cast<uint32_t*>(packed), 16);
    transpose_16x16(words[1], 16, reinterpret_cast<uint32_t*>(packed + kHalf), 16);
  }
}

// ---- products ----

// c [32][32] (+ bias) into out, rounded.
void write_block(const float* c, int64_t rows, int64_t columns, const float* bias, uint16_t* out, int64_t stride) {
  if (columns == kEdge) {
    const F32x16 bias_low = bias != nullptr ? load(bias) : F32x16{};
    const F32x16 bias_high = bias != nullptr ? load(bias + 16) : F32x16{};
    for (int64_t r = 0; r < rows; ++r) {
      const __m512i both = round_both(load(c + r * kEdge) + bias_low, load(c + r * kEdge + 16) + bias_high);
      _mm512_storeu_si512(out + r * stride, both);
    }
    return;
  }
  const auto mask = static_cast<__mmask32>((1U << columns) - 1);
  const F32x16 bias_low = bias != nullptr ? load_before(bias, 0, columns) : F32x16{};
  const F32x16 bias_high = bias != nullptr && columns > 16 ? load_before(bias, 16, columns) : F32x16{};
  for (int64_t r = 0; r < rows; ++r) {
    const __m512i both = round_both(load(c + r * kEdge) + bias_low, load(c + r * kEdge + 16) + bias_high);
    _mm512_mask_storeu_epi16(out + r * stride, mask, both);
  }
}

// [rows, depth] times a packed right operand of `columns` columns.
template <class Unit>
at::Tensor multiply_rows(const at::Tensor& x, const at::Tensor& packed, int64_t columns, const at::Tensor& bias) {
  const int64_t num_rows = x.size(0);
  const int64_t depth = x.size(1);
  const int64_t steps = steps_of(depth);
  at::Tensor out = at::empty({num_rows, columns}, x.options());
  const uint16_t* from = bits_of(x);
  const uint16_t* right = bits_of(packed);
  const float* offsets = bias.defined() ? bias.data_ptr<float>() : nullptr;
  uint16_t* to = bits_of(out);
  // A long depth (the gradient behind a large vocabulary) in pieces: otherwise both operands would come from memory
  // again for every block of results. Sums that are kept in between are the same sums.
  const bool is_deep = steps > kMostStepsAtOnce;
  const int64_t steps_at_once = is_deep ? kStepsPerPiece : steps;
  const int64_t columns_at_once = is_deep ? kColumnsPerPiece : columns;
  // Rows that lie a multiple of 2 kB apart would fight for the same few places of the first level cache.
  const bool can_read_in_place = !is_deep && depth % kEdge == 0 && depth % 1024 != 0;
  constexpr int64_t kRowBlocks = kRowsPerTask / kEdge;

  for_rows(
      (num_rows + kRowsPerTask - 1) / kRowsPerTask, kRowsPerTask * (depth + columns), [&](int64_t first, int64_t last) {
        [[maybe_unused]] const typename Unit::Session session;
        alignas(64) float block_sums[kDouble];
        const at::Tensor copies = new_buffer(kRowBlocks * steps_at_once * kDouble, at::kBFloat16);
        const at::Tensor kept =
            new_buffer(is_deep ? kRowBlocks * steps_of(std::min(columns, columns_at_once)) * kDouble : 0, at::kFloat);
        UnitLeft lefts[kRowBlocks];
        // The results of rows [begin, end) and columns [left_column, right_column), the depth from step `step` on.
        const auto multiply_piece = [&](int64_t begin, int64_t end, int64_t left_column, int64_t right_column,
                                        int64_t step) {
          const int64_t piece = std::min(steps_at_once, steps - step);
          for (int64_t column = left_column; column < right_column; column += kEdge) {
            const UnitRight panel = packed_right(right + (column / kEdge * steps + step) * kDouble);
            for (int64_t m = begin; m < end; m += kEdge) {
              const int64_t block = (column - left_column) / kEdge * kRowBlocks + (m - begin) / kEdge;
              float* c = is_deep ? kept.data_ptr<float>() + block * kDouble : block_sums;
              if (step == 0) {
                Unit::template multiply<false>(lefts[(m - begin) / kEdge], panel, piece, c, kEdge);
              } else {
                Unit::template multiply<true>(lefts[(m - begin) / kEdge], panel, piece, c, kEdge);
              }
              if (step + piece < steps) continue;
              write_block(c, std::min(kEdge, end - m), std::min(kEdge, columns - column),
                          offsets != nullptr ? offsets + column : nullptr, to + m * columns + column, columns);
            }
          }
        };
        for (int64_t task = first; task < last; ++task) {
          const int64_t begin = task * kRowsPerTask;
          const int64_t end = std::min(num_rows, begin + kRowsPerTask);
          for (int64_t column = 0; column < columns; column += columns_at_once) {
            for (int64_t step = 0; step < steps; step += steps_at_once) {
              for (int64_t m = begin; m < end; m += kEdge) {
                UnitLeft& left = lefts[(m - begin) / kEdge];
                if (can_read_in_place && m + kEdge <= end) {
                  left = {.data = from + m * depth, .stride = depth, .half = 16 * depth, .step = kEdge};
                } else {
                  uint16_t* copy = bits_of(copies) + (m - begin) / kEdge * steps_at_once * kDouble;
                  const int64_t at = step * kEdge;
                  pack_rows(from + m * depth + at, std::min(kEdge, end - m), depth,
                            std::min(depth - at, steps_at_once * kEdge), copy);
                  left = packed_left(copy);
                }
              }
              multiply_piece(begin, end, column, std::min(columns, column + columns_at_once), step);
            }
          }
        }
      });
  return out;
}

// Blocks of 32 x 32 sums of left^T right over the rows [begin, end), for the blocks of one task.
struct GradientTask {
  int64_t left_begin, left_end;    // in double tiles
  int64_t right_begin, right_end;  // in double tiles
  int64_t begin, end;              // rows
};

template <class Unit>
void run_gradient_task(const GradientTask& task, const uint16_t* left, int64_t left_width, const uint16_t* right,
                       int64_t right_width, float* blocks, int64_t blocks_per_row) {
  const int64_t steps = steps_of(std::min(kDepthPerChunk, task.end - task.begin));
  const at::Tensor left_buffer = new_buffer((task.left_end - task.left_begin) * steps * kDouble, at::kBFloat16);
  const at::Tensor right_buffer = new_buffer((task.right_end - task.right_begin) * steps * kDouble, at::kBFloat16);
  uint16_t* left_packed = bits_of(left_buffer);
  uint16_t* right_packed = bits_of(right_buffer);
  for (int64_t begin = task.begin; begin < task.end; begin += kDepthPerChunk) {
    const int64_t end = std::min(task.end, begin + kDepthPerChunk);
    // Step by step, so that whole rows are read in order.
    for (int64_t step = 0; step < steps_of(end - begin); ++step) {
      const int64_t n = begin + step * kEdge;
      for (int64_t q = task.right_begin; q < task.right_end; ++q) {
        pack_step<Side::kRight>(right, right_width, n, end, q * kEdge,
                                right_packed + ((q - task.right_begin) * steps + step) * kDouble);
      }
      for (int64_t p = task.left_begin; p < task.left_end; ++p) {
        pack_step<Side::kLeft>(left, left_width, n, end, p * kEdge,
                               left_packed + ((p - task.left_begin) * steps + step) * kDouble);
      }
    }
    for (int64_t p = task.left_begin; p < task.left_end; ++p) {
      const UnitLeft panel = packed_left(left_packed + (p - task.left_begin) * steps * kDouble);
      for (int64_t q = task.right_begin; q < task.right_end; ++q) {
        float* c = blocks + (p * blocks_per_row + q) * kDouble;
        const UnitRight columns = packed_right(right_packed + (q - task.right_begin) * steps * kDouble);
        if (begin == task.begin) {
          Unit::template multiply<false>(panel, columns, steps_of(end - begin), c, kEdge);
        } else {
          Unit::template multiply<true>(panel, columns, steps_of(end - begin), c, kEdge);
        }
      }
    }
  }
}

template <class F>
at::Tensor packed_weight(const at::Tensor& weight_ED, F&& pack) {
  at::Tensor packed = new_buffer(steps_of(weight_ED.size(0)) * steps_of(weight_ED.size(1)) * kDouble, at::kBFloat16);
  with_type(weight_ED.scalar_type(), [&](auto zero) {
    pack(weight_ED.data_ptr<decltype(zero)>(), weight_ED.size(0), weight_ED.size(1), bits_of(packed));
  });
  return packed;
}

template <class Unit>
at::Tensor weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND) {
  const int64_t outputs = dy_NE.size(1);
  const int64_t width = x_ND.size(1);
  const int64_t num_rows = x_ND.size(0);
  if (num_rows == 0) return at::zeros({outputs, width}, at::kFloat);
  // The left operand costs more to pack: let it be the narrower one, and turn the result at the end.
  const bool is_turned = width < outputs;
  const at::Tensor& left = is_turned ? x_ND : dy_NE;
  const at::Tensor& right = is_turned ? dy_NE : x_ND;
  const int64_t left_blocks = steps_of(left.size(1));
  const int64_t right_blocks = steps_of(right.size(1));
  const int64_t left_cuts = (left.size(1) + kLeftPerTask - 1) / kLeftPerTask;
  const int64_t right_cuts = (right.size(1) + kRightPerTask - 1) / kRightPerTask;
  const int64_t most_parts = (num_rows + 2 * kDepthPerChunk - 1) / (2 * kDepthPerChunk);
  const int64_t parts =
      std::clamp<int64_t>((kLeastTasks + left_cuts * right_cuts - 1) / (left_cuts * right_cuts), 1, most_parts);
  const int64_t rows_per_part = (num_rows + parts * kEdge - 1) / (parts * kEdge) * kEdge;

  const int64_t part_values = left_blocks * right_blocks * kDouble;
  const at::Tensor sums = new_buffer(parts * part_values, at::kFloat);
  float* blocks = sums.data_ptr<float>();
  const int64_t per_part = left_cuts * right_cuts;
  for_rows(parts * per_part, num_rows * (outputs + width) / (parts * per_part), [&](int64_t first, int64_t last) {
    [[maybe_unused]] const typename Unit::Session session;
    for (int64_t index = first; index < last; ++index) {
      const int64_t part = index / per_part;
      const int64_t left_cut = index % per_part / right_cuts;
      const int64_t right_cut = index % right_cuts;
      const GradientTask task = {
          .left_begin = left_cut * (kLeftPerTask / kEdge),
          .left_end = std::min(left_blocks, (left_cut + 1) * (kLeftPerTask / kEdge)),
          .right_begin = right_cut * (kRightPerTask / kEdge),
          .right_end = std::min(right_blocks, (right_cut + 1) * (kRightPerTask / kEdge)),
          .begin = std::min(num_rows, part * rows_per_part),
          .end = std::min(num_rows, (part + 1) * rows_per_part),
      };
      float* out = blocks + part * part_values;
      if (task.begin == task.end) {
        for (int64_t p = task.left_begin; p < task.left_end; ++p) {
          std::fill_n(out + (p * right_blocks + task.right_begin) * kDouble,
                      (task.right_end - task.right_begin) * kDouble, 0.0F);
        }
        continue;
      }
      run_gradient_task<Unit>(task, bits_of(left), left.size(1), bits_of(right), right.size(1), out, right_blocks);
    }
  });

  at::Tensor gradient_ED = at::empty({outputs, width}, at::kFloat);
  float* gradient = gradient_ED.data_ptr<float>();
  for_rows(left_blocks * right_blocks, (parts + 1) * kDouble, [&](int64_t first, int64_t last) {
    alignas(64) float total[kDouble];
    alignas(64) float turned[kDouble];
    for (int64_t block = first; block < last; ++block) {
      std::copy_n(blocks + block * kDouble, kDouble, total);
      for (int64_t part = 1; part < parts; ++part) {
        const float* more = blocks + part * part_values + block * kDouble;
        for (int64_t i = 0; i < kDouble; ++i) total[i] += more[i];
      }
      int64_t e = block / right_blocks * kEdge;
      int64_t d = block % right_blocks * kEdge;
      const float* from = total;
      if (is_turned) {
        std::swap(e, d);
        from = turned;
        for (int64_t r = 0; r < kEdge; ++r) {
          for (int64_t c = 0; c < kEdge; ++c) turned[r * kEdge + c] = total[c * kEdge + r];
        }
      }
      const int64_t columns = std::min(kEdge, width - d);
      for (int64_t r = 0; r < std::min(kEdge, outputs - e); ++r) {
        std::copy_n(from + r * kEdge, columns, gradient + (e + r) * width + d);
      }
    }
  });
  return gradient_ED;
}

}  // namespace

bool bfloat16_products_are_available() { return true; }

at::Tensor bfloat16_linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  const at::Tensor packed =
      packed_weight(weight_ED, [](const auto* weight, int64_t outputs, int64_t width, uint16_t* out) {
        pack_transposed_weight(weight, outputs, width, out);
      });
  return with_bfloat16_unit(
      [&](auto unit) { return multiply_rows<decltype(unit)>(x_ND, packed, weight_ED.size(0), bias_E); });
}

at::Tensor bfloat16_input_gradient(const at::Tensor& dy_NE, const at::Tensor& weight_ED) {
  const at::Tensor packed = packed_weight(weight_ED, [](const auto* weight, int64_t outputs, int64_t width,
                                                        uint16_t* out) { pack_weight(weight, outputs, width, out); });
  return with_bfloat16_unit(
      [&](auto unit) { return multiply_rows<decltype(unit)>(dy_NE, packed, weight_ED.size(1), /*bias=*/{}); });
}

at::Tensor bfloat16_weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND) {
  return with_bfloat16_unit([&](auto unit) { return weight_gradient<decltype(unit)>(dy_NE, x_ND); });
}

#else

namespace {
[[noreturn]] void refuse() {
  throw InternalError("compiled without bfloat16 products: ask bfloat16_products_are_available() first");
}
}  // namespace

bool bfloat16_products_are_available() { return false; }
at::Tensor bfloat16_linear(const at::Tensor&, const at::Tensor&, const at::Tensor&) { refuse(); }
at::Tensor bfloat16_input_gradient(const at::Tensor&, const at::Tensor&) { refuse(); }
at::Tensor bfloat16_weight_gradient(const at::Tensor&, const at::Tensor&) { refuse(); }

#endif

}  // namespace verbatim::nn
