#include "families/tokun/block_sums.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "blocks/utf32.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/task_loop.h"

namespace verbatim {

namespace {

constexpr size_t kUnits = size_t{kEscape} + 0x100;
constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kPair = 2 * nn::kLanes;  // columns that 16 packed words hold
constexpr int64_t kMostCharacters = 8192, kMostBytes = int64_t{1} << 28;

// Two bfloat16 numbers in a word, so that one load serves both and neither must be taken out: the word times 2^16 is
// `low`, and the word itself, read as float32, is `high` with the bits of `low` behind it. `high` is chosen such that
// this number is as near as a bfloat16 can be.
uint32_t packed(float low, float high) {
  constexpr uint32_t kMagnitude = 0x7FFFFFFF, kHalf = 0x8000;
  const uint32_t behind = c10::BFloat16(low).x;
  const auto bits = std::bit_cast<uint32_t>(high);
  const uint32_t magnitude = (bits & kMagnitude) + kHalf;
  const uint32_t front = magnitude < behind ? 0 : (magnitude - behind) >> 16 << 16;
  return (bits & ~kMagnitude) | front | behind;
}

void pack(const float* from, int64_t count, uint32_t* to) {
  for (int64_t i = 0; i < count; i += kPair) {
    for (int64_t lane = 0; lane < nn::kLanes; ++lane) *to++ = packed(from[i + lane], from[i + nn::kLanes + lane]);
  }
}

// Adds `count` rows of float32 from column `column` on, kVectors * 16 columns.
template <int64_t kVectors>
void add_columns(const float* const* rows, int64_t count, int64_t column, float* out) {
  std::array<nn::F32x16, kVectors> sums{};
  for (int64_t i = 0; i < count; ++i) {
    const float* row = rows[i] + column;
#pragma GCC unroll 16
    for (int64_t v = 0; v < kVectors; ++v) sums[v] += nn::load(row + v * nn::kLanes);
  }
#pragma GCC unroll 16
  for (int64_t v = 0; v < kVectors; ++v) nn::store(out + column + v * nn::kLanes, sums[v]);
}

// The same of packed rows, kVectors * 32 columns.
template <int64_t kVectors>
void add_columns(const uint32_t* const* rows, int64_t count, int64_t column, float* out) {
  std::array<nn::F32x16, kVectors> low{}, high{};
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* row = rows[i] + column / 2;
#pragma GCC unroll 16
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto words = nn::load_as<nn::U32x16>(row + v * nn::kLanes);
      low[v] += nn::bits_as<nn::F32x16>(words << 16);
      high[v] += nn::bits_as<nn::F32x16>(words);
    }
  }
#pragma GCC unroll 16
  for (int64_t v = 0; v < kVectors; ++v) {
    nn::store(out + column + v * kPair, low[v]);
    nn::store(out + column + v * kPair + nn::kLanes, high[v]);
  }
}

void add_rows(const float* const* rows, int64_t count, int64_t width, float* out) {
  constexpr int64_t kVectors = nn::kFillsRegister ? 16 : 4;
  int64_t column = 0;
  for (; column + kVectors * nn::kLanes <= width; column += kVectors * nn::kLanes) {
    add_columns<kVectors>(rows, count, column, out);
  }
  for (; column + nn::kLanes <= width; column += nn::kLanes) add_columns<1>(rows, count, column, out);
  for (; column < width; ++column) {
    out[column] = 0;
    for (int64_t i = 0; i < count; ++i) out[column] += rows[i][column];
  }
}

void add_rows(const uint32_t* const* rows, int64_t count, int64_t width, float* out) {
  constexpr int64_t kVectors = nn::kFillsRegister ? 8 : 2;
  int64_t column = 0;
  for (; column + kVectors * kPair <= width; column += kVectors * kPair) {
    add_columns<kVectors>(rows, count, column, out);
  }
  for (; column < width; column += kPair) add_columns<1>(rows, count, column, out);
}

void divide_by_length(float* row, int64_t width, double epsilon) {
  nn::F32x16 squares{};
  nn::by_vectors(width, [&](int64_t i, auto lanes) {
    const nn::F32x16 values = nn::load(row + i, lanes);
    squares += values * values;
  });
  float square = 0;
  std::array<float, nn::kLanes> parts;
  nn::store(parts.data(), squares);
  for (const float part : parts) square += part;
  const auto factor = static_cast<float>(1 / std::sqrt(square / static_cast<double>(width) + epsilon));
  nn::by_vectors(width, [&](int64_t i, auto lanes) { nn::store(row + i, factor * nn::load(row + i, lanes), lanes); });
}

}  // namespace

BlockSums::BlockSums(const at::Tensor& join_LCW, int64_t characters, at::ScalarType type)
    : joins_WM_(join_LCW.detach()
                    .view({join_LCW.size(0), characters, -1})
                    .permute({2, 1, 0})
                    .reshape({-1, characters * join_LCW.size(0)})
                    .contiguous()),
      characters_(characters),
      width_(join_LCW.size(0)),
      // A pair of columns must not lie in two vectors.
      type_(join_LCW.size(0) % kPair == 0 ? type : at::kFloat),
      slots_(kUnits, -1) {
  const int64_t words = characters_ * (type_ == at::kFloat ? width_ : width_ / 2);
  most_characters_ = std::min(kMostCharacters, kMostBytes / (static_cast<int64_t>(sizeof(int32_t)) * words));
  rows_ = at::empty({most_characters_, words}, at::kInt);
}

void BlockSums::keep(const at::Tensor& sums_UM) {
  const int64_t count = sums_UM.size(0), values = characters_ * width_, words = rows_.size(1);
  const auto first = static_cast<int64_t>(units_.size());
  for (int64_t u = 0; u < count; ++u) {
    const float* from = sums_UM.data_ptr<float>() + u * values;
    auto* to = rows_.data_ptr<int32_t>() + (first + u) * words;
    if (type_ == at::kFloat) {
      std::memcpy(to, from, sizeof(float) * values);
    } else {
      pack(from, values, reinterpret_cast<uint32_t*>(to));
    }
  }
}

bool BlockSums::learn(const PositionBatch& batch, const CharacterVectors& vectors) {
  std::vector<int32_t> units;
  const auto find_new = [&] {
    units.clear();
    const auto note = [&](int32_t unit) {
      if (slots_[unit] >= 0) return;
      slots_[unit] = static_cast<int32_t>(units_.size() + units.size());
      units.push_back(unit);
    };
    note(0);  // padding
    for (const int32_t unit : batch.ids) note(unit);
  };
  const auto forget = [&](const std::vector<int32_t>& some) {
    for (const int32_t unit : some) slots_[unit] = -1;
  };
  find_new();
  if (static_cast<int64_t>(units_.size() + units.size()) > most_characters_) {
    // Other text than before: begin anew.
    forget(units);
    forget(units_);
    units_.clear();
    find_new();
  }
  // A new unit costs as many multiplications as a block.
  constexpr int64_t kFew = 256;
  const auto count = static_cast<int64_t>(units.size());
  if (count > most_characters_ || count > batch.rows() + kFew) {
    forget(units);
    return false;
  }
  if (count == 0) return true;
  // A stretch of units at a time, so that what lies between takes little room.
  constexpr int64_t kStretch = 256;
  for (int64_t begin = 0; begin < count; begin += kStretch) {
    const std::vector<int32_t> some(units.begin() + begin, units.begin() + std::min(begin + kStretch, count));
    keep(at::mm(vectors(some), joins_WM_));
    units_.insert(units_.end(), some.begin(), some.end());
  }
  return true;
}

void BlockSums::write(const PositionBatch& batch, int64_t begin, int64_t end, std::optional<double> epsilon,
                      float* out) const {
  const auto write_rows = [&](const auto* table) {
    const int64_t stride = rows_.size(1), words = stride / characters_;
    const auto write_range = [&](int64_t first_row, int64_t last_row) {
      std::vector<decltype(table)> rows(static_cast<size_t>(characters_));
      for (int64_t row = first_row; row < last_row; ++row) {
        const int64_t first = batch.id_offsets[row], count = batch.id_offsets[row + 1] - first;
        for (int64_t i = 0; i < characters_; ++i) {
          rows[i] = table + int64_t{slots_[i < count ? batch.ids[first + i] : 0]} * stride + i * words;
        }
        float* to = out + (row - begin) * width_;
        add_rows(rows.data(), characters_, width_, to);
        if (epsilon.has_value()) divide_by_length(to, width_, *epsilon);
      }
    };
    at::parallel_for(begin, end, kRowsPerTask,
                     [&](int64_t first_row, int64_t last_row) { nn::call_one_copy(write_range, first_row, last_row); });
  };
  if (type_ == at::kFloat) {
    write_rows(reinterpret_cast<const float*>(rows_.data_ptr<int32_t>()));
  } else {
    write_rows(reinterpret_cast<const uint32_t*>(rows_.data_ptr<int32_t>()));
  }
}

}  // namespace verbatim
