#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace verbatim {

// Byte-pair merging: as long as two neighbours are in the table, the pair with the lowest rank (of equal ranks the
// leftmost) is replaced by its result. Read-only after building, so any number of threads may merge with one table.
class BpeMerger {
 public:
  struct Target {
    uint32_t rank = kNoRank;
    int32_t result = -1;
  };
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  // Working memory of merge().
  struct Scratch {
    std::vector<Target> targets;
    std::vector<uint32_t> previous;
    std::vector<uint32_t> next;
    struct Candidate {
      uint32_t rank;
      uint32_t position;
      int32_t result;
      int32_t left;
      int32_t right;
    };
    std::vector<Candidate> heap;
  };

  BpeMerger() { reserve(0); }
  void reserve(size_t num_merges);
  // A later entry for the same pair replaces the earlier one. Ids are not negative, ranks are below kNoRank.
  void add(int32_t left, int32_t right, uint32_t rank, int32_t result);

  [[nodiscard]] Target find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (keys_[slot] == key) return targets_[slot];
      if (keys_[slot] == kFree) return {};
    }
  }

  // Merges in place. Quadratic for short words, where that is fastest; n log n for long ones.
  void merge(std::vector<int32_t>& symbols, Scratch& scratch) const;

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  static constexpr size_t kShortWord = 48;
  static constexpr size_t kRememberedWord = size_t{1} << 20;  // working memory of longer words is given back

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  [[nodiscard]] size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  void grow(size_t num_slots);
  void merge_short(std::vector<int32_t>& symbols, Scratch& scratch) const;
  void merge_long(std::vector<int32_t>& symbols, Scratch& scratch) const;

  std::vector<uint64_t> keys_;
  std::vector<Target> targets_;
  size_t used_ = 0;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace verbatim
