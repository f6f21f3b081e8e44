#include "words/seen_words.h"

#include <algorithm>
#include <bit>
#include <new>

#include "base/error.h"

namespace verbatim {
namespace {

template <class T>
T* allocate_zeroed(size_t count) {
  void* memory = std::calloc(count, sizeof(T));
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

}  // namespace

SeenWords::SeenWords(size_t row_size, size_t max_bytes) : row_size_(row_size), max_bytes_(max_bytes) {
  VERBATIM_ASSERT(max_bytes <= size_t{1} << 35, "slots count entries with 32 bits");
  if (max_bytes == 0) return;
  // A word has about seven trigrams.
  const size_t bytes_per_word = 64 + 7 * (row_size * sizeof(int32_t) + 9);
  const size_t slots = std::bit_ceil(std::max<size_t>(max_bytes / bytes_per_word, 16) * 2);
  max_words_ = slots / 4 * 3;
  slot_mask_ = slots - 1;
  slots_.reset(allocate_zeroed<uint64_t>(slots));
  arena_.reset(allocate_zeroed<std::byte>(max_bytes));
}

std::span<const int32_t> SeenWords::insert(std::string_view word, uint64_t hash, std::span<const int32_t> ids,
                                           std::span<const uint64_t> row_keys, std::span<const uint8_t> edge) {
  const size_t rows = row_keys.size();
  VERBATIM_ASSERT(ids.size() == rows * row_size_ && edge.size() == rows);
  if (word.size() > kLongestWord) return {};
  const std::lock_guard lock(writing_);
  if (const std::span<const int32_t> known = find_ids(word, hash); !known.empty()) return known;
  const size_t size = (sizeof(Header) + (word.size() + 3) / 4 * 4 + ids.size_bytes() + 7) / 8 * 8 +
                      row_keys.size_bytes() + (edge.size_bytes() + 7) / 8 * 8;
  if (words_ >= max_words_ || size > max_bytes_ - used_) return {};
  auto* header = reinterpret_cast<Header*>(arena_.get() + used_);
  header->text_size = static_cast<uint32_t>(word.size());
  header->rows = static_cast<uint32_t>(rows);
  word.copy(reinterpret_cast<char*>(header + 1), word.size());
  const Entry entry = entry_at(header);
  const auto copy_to = [&](const auto* place, auto values) {
    std::byte* target = arena_.get() + (reinterpret_cast<const std::byte*>(place) - arena_.get());
    std::memcpy(target, values.data(), values.size_bytes());
  };
  copy_to(entry.ids_, ids);
  copy_to(entry.keys_, row_keys);
  copy_to(entry.edge_, edge);

  size_t place = hash & slot_mask_;
  while (slots_[place] != 0) place = (place + 1) & slot_mask_;
  const uint64_t slot = hash >> 32 << 32 | (used_ / kAlignment + 1);
  used_ += size;
  ++words_;
  std::atomic_ref<uint64_t>(slots_[place]).store(slot, std::memory_order_release);
  return entry.ids();
}

}  // namespace verbatim
