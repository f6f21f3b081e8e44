#include "tokenizers/bpe_merger.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"

namespace verbatim {

void BpeMerger::reserve(size_t num_merges) { grow(std::bit_ceil(std::max<size_t>(16, num_merges * 2))); }

void BpeMerger::grow(size_t num_slots) {
  if (num_slots <= keys_.size()) return;
  const std::vector<uint64_t> old_keys = std::exchange(keys_, std::vector<uint64_t>(num_slots, kFree));
  const std::vector<Target> old_targets = std::exchange(targets_, std::vector<Target>(num_slots));
  mask_ = num_slots - 1;
  shift_ = 64 - std::countr_zero(num_slots);
  for (size_t i = 0; i < old_keys.size(); ++i) {
    if (old_keys[i] == kFree) continue;
    size_t slot = slot_of(old_keys[i]);
    while (keys_[slot] != kFree) slot = (slot + 1) & mask_;
    keys_[slot] = old_keys[i];
    targets_[slot] = old_targets[i];
  }
}

void BpeMerger::add(int32_t left, int32_t right, uint32_t rank, int32_t result) {
  VERBATIM_ASSERT(left >= 0 && right >= 0 && result >= 0 && rank < kNoRank);
  if ((used_ + 1) * 2 > keys_.size()) grow(keys_.size() * 2);
  const uint64_t key = key_of(left, right);
  size_t slot = slot_of(key);
  while (keys_[slot] != kFree && keys_[slot] != key) slot = (slot + 1) & mask_;
  if (keys_[slot] == kFree) ++used_;
  keys_[slot] = key;
  targets_[slot] = {rank, result};
}

void BpeMerger::merge(std::vector<int32_t>& symbols, Scratch& scratch) const {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShortWord) {
    merge_short(symbols, scratch);
  } else {
    merge_long(symbols, scratch);
  }
}

void BpeMerger::merge_short(std::vector<int32_t>& symbols, Scratch& scratch) const {
  std::vector<Target>& targets = scratch.targets;  // targets[i]: what symbols i and i + 1 would become
  size_t num_pairs = symbols.size() - 1;
  targets.resize(num_pairs);
  for (size_t i = 0; i < num_pairs; ++i) targets[i] = find(symbols[i], symbols[i + 1]);
  while (num_pairs > 0) {
    size_t best = 0;
    for (size_t i = 1; i < num_pairs; ++i) {
      if (targets[i].rank < targets[best].rank) best = i;
    }
    if (targets[best].rank == kNoRank) break;
    symbols[best] = targets[best].result;
    const auto offset = static_cast<std::ptrdiff_t>(best);
    std::move(symbols.begin() + offset + 2, symbols.begin() + static_cast<std::ptrdiff_t>(num_pairs) + 1,
              symbols.begin() + offset + 1);
    std::move(targets.begin() + offset + 1, targets.begin() + static_cast<std::ptrdiff_t>(num_pairs),
              targets.begin() + offset);
    --num_pairs;
    if (best > 0) targets[best - 1] = find(symbols[best - 1], symbols[best]);
    if (best < num_pairs) targets[best] = find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(num_pairs + 1);
}

void BpeMerger::merge_long(std::vector<int32_t>& symbols, Scratch& scratch) const {
  constexpr uint32_t kNone = ~uint32_t{0};
  constexpr int32_t kGone = -1;
  using Candidate = Scratch::Candidate;
  VERBATIM_ASSERT(symbols.size() < kNone, "a word of {} symbols", symbols.size());
  const auto size = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t>& previous = scratch.previous;
  std::vector<uint32_t>& next = scratch.next;
  std::vector<Candidate>& heap = scratch.heap;
  previous.resize(size);
  next.resize(size);
  heap.clear();
  const auto goes_later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto candidate_at = [&](uint32_t left, Candidate& candidate) {
    const uint32_t right = next[left];
    const Target target = find(symbols[left], symbols[right]);
    candidate = {target.rank, left, target.result, symbols[left], symbols[right]};
    return target.rank != kNoRank;
  };
  for (uint32_t i = 0; i < size; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == size ? kNone : i + 1;
  }
  Candidate candidate;
  for (uint32_t i = 0; i + 1 < size; ++i) {
    if (candidate_at(i, candidate)) heap.push_back(candidate);
  }
  std::make_heap(heap.begin(), heap.end(), goes_later);
  const auto push = [&](uint32_t left) {
    if (!candidate_at(left, candidate)) return;
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end(), goes_later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), goes_later);
    const Candidate best = heap.back();
    heap.pop_back();
    // A candidate is out of date when one of its two symbols has changed since.
    const uint32_t left = best.position;
    if (symbols[left] != best.left) continue;
    const uint32_t right = next[left];
    if (right == kNone || symbols[right] != best.right) continue;
    symbols[left] = best.result;
    symbols[right] = kGone;
    next[left] = next[right];
    if (next[left] != kNone) {
      previous[next[left]] = left;
      push(left);
    }
    if (previous[left] != kNone) push(previous[left]);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < size; ++i) {
    if (symbols[i] != kGone) symbols[kept++] = symbols[i];
  }
  symbols.resize(kept);
  if (size > kRememberedWord) scratch = {};
}

}  // namespace verbatim
