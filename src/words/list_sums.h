#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace verbatim {

// Sums of one table of numbers over many short lists of indexes. The lists lie sorted by length in tiles of 16, index
// by index next to each other, so that 16 sums grow together (a gather instruction where the processor has one).
// Lists are known by their place in this order; place() order is fixed, equal lists give bitwise equal sums.
// Read-only after construction.
class ListSums {
 public:
  static constexpr size_t kLanes = 16;

  ListSums() = default;
  // List i is indexes[begins[i] .. begins[i + 1]). Every index is below `padding`; short lists of a tile are filled
  // with `padding`, so the tables given later have padding + 1 entries and the last of them is 0.
  ListSums(std::span<const uint64_t> begins, std::span<const uint32_t> indexes, uint32_t padding);

  // Which list is at each place: [number of lists]. Lists of equal length keep their order.
  [[nodiscard]] std::span<const uint32_t> order() const { return order_; }
  // Number of lists, rounded up to whole tiles: the length of the results.
  [[nodiscard]] size_t padded_size() const { return tile_begins_.empty() ? 0 : (tile_begins_.size() - 1) * kLanes; }

  // Of places [first_place, end_place), both multiples of kLanes and at most padded_size():
  // sums[place - first_place] = sum of table[index]; the table has padding + 1 entries. `kBatch` tables at once: table
  // is [padding + 1, kBatch], sums [places, kBatch], each column exactly as if it were alone.
  template <size_t kBatch>
  void sum(const float* table, size_t first_place, size_t end_place, float* sums) const;

 private:
  std::vector<uint32_t> order_;
  std::vector<uint64_t> tile_begins_;  // in units of kLanes indexes; one more than there are tiles
  std::variant<std::vector<uint16_t>, std::vector<uint32_t>> indexes_;  // the narrower type where it suffices
};

}  // namespace verbatim
