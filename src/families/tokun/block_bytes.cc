#include "families/tokun/block_bytes.h"

#include <ATen/ATen.h>

#include <unordered_map>

#include "base/error.h"
#include "blocks/utf32.h"

namespace verbatim {

namespace {

constexpr int32_t kReplacement = 0xFFFD;

// Writes the block of row `row` to `to`, which holds zeros.
void write_row(const PositionBatch& batch, int64_t row, int64_t block_bytes, int64_t* to) {
  const int64_t begin = batch.id_offsets[row], count = batch.id_offsets[row + 1] - begin;
  VERBATIM_ASSERT(4 * count <= block_bytes, "a block of {} units", count);
  for (int64_t i = 0; i < count; ++i) write_unit(to + 4 * i, batch.ids[begin + i]);
}

}  // namespace

at::Tensor bytes_of_rows(const PositionBatch& batch, int64_t block_bytes) {
  at::Tensor bytes_NT = at::zeros({batch.rows(), block_bytes}, at::kLong);
  auto* to = bytes_NT.data_ptr<int64_t>();
  for (int64_t row = 0; row < batch.rows(); ++row) write_row(batch, row, block_bytes, to + row * block_bytes);
  return bytes_NT;
}

at::Tensor bytes_of_targets(const PositionBatch& batch, int64_t block_bytes) {
  at::Tensor bytes_NT = at::zeros({batch.rows(), block_bytes}, at::kLong);
  auto* to = bytes_NT.data_ptr<int64_t>();
  for (int64_t row = 0; row < batch.rows(); ++row, to += block_bytes) {
    const int64_t target = batch.targets[row];
    if (target >= 0) {
      write_row(batch, target, block_bytes, to);
    } else if (target != kEndTarget) {
      std::fill_n(to, block_bytes, -1);
    }
  }
  return bytes_NT;
}

std::span<const int32_t> natural_units(const PositionBatch& batch) {
  const int64_t rows = batch.natural_rows >= 0 ? batch.natural_rows : batch.rows();
  return std::span(batch.ids).first(static_cast<size_t>(batch.id_offsets[rows]));
}

DifferentUnits different_units(const PositionBatch& batch, int64_t block_bytes) {
  const int64_t characters = block_bytes / 4;
  at::Tensor index_M = at::zeros({batch.rows() * characters}, at::kLong);
  auto* index = index_M.data_ptr<int64_t>();
  std::unordered_map<int32_t, int64_t> places{{0, 0}};
  std::vector<int32_t> units{0};
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const int64_t begin = batch.id_offsets[row], count = batch.id_offsets[row + 1] - begin;
    VERBATIM_ASSERT(count <= characters, "a block of {} units", count);
    for (int64_t i = 0; i < count; ++i) {
      const int32_t unit = batch.ids[begin + i];
      const auto [place, is_new] = places.try_emplace(unit, static_cast<int64_t>(units.size()));
      if (is_new) units.push_back(unit);
      index[row * characters + i] = place->second;
    }
  }
  at::Tensor bytes_U4 = at::empty({static_cast<int64_t>(units.size()), 4}, at::kLong);
  for (size_t u = 0; u < units.size(); ++u) write_unit(bytes_U4.data_ptr<int64_t>() + 4 * u, units[u]);
  return {.bytes_U4 = bytes_U4, .index_M = index_M};
}

WrittenBlock read_written_block(const uint8_t* bytes, int64_t block_bytes) {
  const std::string_view stream(reinterpret_cast<const char*>(bytes), static_cast<size_t>(block_bytes));
  std::vector<int32_t> units;
  units.reserve(stream.size() / 4);
  for (size_t place = 0; place < stream.size(); place += 4) {
    const char32_t unit = read_unit(stream, place);
    if (unit == 0) break;
    units.push_back(static_cast<int32_t>(unit));
  }
  return written_block(std::move(units));
}

WrittenBlock written_block(std::vector<int32_t> units) {
  WrittenBlock block{.units = std::move(units)};
  for (int32_t& value : block.units) {
    const auto unit = static_cast<char32_t>(value);
    // kEscape itself is the NUL byte.
    if (unit <= kEscape && (unit < 0xD800 || unit > 0xDFFF)) continue;
    value = kReplacement;
    ++block.replaced;
  }
  return block;
}

}  // namespace verbatim
