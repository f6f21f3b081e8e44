#include "words/list_sums.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace verbatim {
namespace {

template <class Index>
std::vector<Index> fill_tiles(std::span<const uint64_t> begins, std::span<const uint32_t> indexes,
                              std::span<const uint32_t> order, std::span<const uint64_t> tile_begins,
                              uint32_t padding) {
  std::vector<Index> tiles(tile_begins.back() * ListSums::kLanes, static_cast<Index>(padding));
  for (size_t place = 0; place < order.size(); ++place) {
    const uint64_t begin = begins[order[place]];
    const uint64_t length = begins[order[place] + 1] - begin;
    Index* lane = tiles.data() + tile_begins[place / ListSums::kLanes] * ListSums::kLanes + place % ListSums::kLanes;
    for (uint64_t i = 0; i < length; ++i) lane[i * ListSums::kLanes] = static_cast<Index>(indexes[begin + i]);
  }
  return tiles;
}

// One table: the 16 sums of a tile side by side.
template <class Index>
void sum_tiles(const Index* __restrict indexes, std::span<const uint64_t> tile_begins, const float* __restrict table,
               float* __restrict sums) {
  constexpr size_t kLanes = ListSums::kLanes;
  for (size_t tile = 0; tile + 1 < tile_begins.size(); ++tile) {
    float* total = sums + tile * kLanes;
    for (size_t lane = 0; lane < kLanes; ++lane) total[lane] = 0;
    const Index* end = indexes + tile_begins[tile + 1] * kLanes;
    for (const Index* index = indexes + tile_begins[tile] * kLanes; index != end; index += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) total[lane] += table[index[lane]];
    }
  }
}

// Several tables: one list after the other, the tables side by side.
template <size_t kBatch, class Index>
void sum_columns(const Index* __restrict indexes, std::span<const uint64_t> tile_begins, const float* __restrict table,
                 float* __restrict sums) {
  constexpr size_t kLanes = ListSums::kLanes;
  for (size_t tile = 0; tile + 1 < tile_begins.size(); ++tile) {
    const uint64_t length = tile_begins[tile + 1] - tile_begins[tile];
    const Index* first = indexes + tile_begins[tile] * kLanes;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      float total[kBatch] = {};
      for (uint64_t i = 0; i < length; ++i) {
        const float* row = table + size_t{first[i * kLanes + lane]} * kBatch;
        for (size_t b = 0; b < kBatch; ++b) total[b] += row[b];
      }
      std::copy_n(total, kBatch, sums + (tile * kLanes + lane) * kBatch);
    }
  }
}

}  // namespace

ListSums::ListSums(std::span<const uint64_t> begins, std::span<const uint32_t> indexes, uint32_t padding)
    : order_(begins.size() - 1) {
  const auto length = [&](uint32_t list) { return begins[list + 1] - begins[list]; };
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) { return length(a) < length(b); });
  tile_begins_ = {0};
  for (size_t place = 0; place < order_.size(); place += kLanes) {
    const uint32_t longest = order_[std::min(place + kLanes, order_.size()) - 1];
    tile_begins_.push_back(tile_begins_.back() + length(longest));
  }
  if (padding <= std::numeric_limits<uint16_t>::max()) {
    indexes_ = fill_tiles<uint16_t>(begins, indexes, order_, tile_begins_, padding);
  } else {
    indexes_ = fill_tiles<uint32_t>(begins, indexes, order_, tile_begins_, padding);
  }
}

template <size_t kBatch>
void ListSums::sum(const float* table, size_t first_place, size_t end_place, float* sums) const {
  if (first_place == end_place) return;
  const std::span<const uint64_t> tile_begins =
      std::span(tile_begins_).subspan(first_place / kLanes, (end_place - first_place) / kLanes + 1);
  std::visit(
      [&](const auto& indexes) {
        if constexpr (kBatch == 1) {
          sum_tiles(indexes.data(), tile_begins, table, sums);
        } else {
          sum_columns<kBatch>(indexes.data(), tile_begins, table, sums);
        }
      },
      indexes_);
}

template void ListSums::sum<1>(const float*, size_t, size_t, float*) const;
template void ListSums::sum<8>(const float*, size_t, size_t, float*) const;

}  // namespace verbatim
