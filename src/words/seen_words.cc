#include "words/seen_words.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "base/error.h"

namespace verbatim {
namespace {

// Whole huge pages where the system has them, since entries lie anywhere. The system gives zeros, page by page as they
// are touched.
template <class T>
T* map_zeroed(size_t count) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      /*fd=*/-1, /*offset=*/0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  madvise(memory, count * sizeof(T), MADV_HUGEPAGE);  // only a wish
  return static_cast<T*>(memory);
}

}  // namespace

void SeenWords::Unmap::operator()(void* memory) const { munmap(memory, bytes); }

SeenWords::SeenWords(size_t row_size, size_t max_bytes) : row_size_(row_size), max_bytes_(max_bytes) {
  VERBATIM_ASSERT(max_bytes <= size_t{1} << 35, "slots count entries with 32 bits");
  if (max_bytes == 0) return;
  // A word has about seven trigrams.
  const size_t bytes_per_word = 8 + 7 * (row_size * sizeof(int32_t) + 9);
  const size_t slots = std::bit_ceil(std::max<size_t>(max_bytes / bytes_per_word, 16) * 2);
  max_words_ = slots / 4 * 3;
  slot_mask_ = slots - 1;
  slots_ = {map_zeroed<Slot>(slots), Unmap{slots * sizeof(Slot)}};
  arena_ = {map_zeroed<std::byte>(max_bytes), Unmap{max_bytes}};
}

SeenWords::Entry SeenWords::entry_at(size_t offset, size_t rows) const {
  const std::byte* bytes = arena_.get() + offset;
  const size_t keys = (rows * row_size_ * sizeof(int32_t) + 7) / 8 * 8;
  Entry entry;
  entry.ids_ = reinterpret_cast<const int32_t*>(bytes);
  entry.keys_ = reinterpret_cast<const uint64_t*>(bytes + keys);
  entry.edge_ = reinterpret_cast<const uint8_t*>(bytes + keys + rows * sizeof(uint64_t));
  entry.rows_ = static_cast<uint32_t>(rows);
  entry.row_size_ = static_cast<uint32_t>(row_size_);
  return entry;
}

const char* SeenWords::long_text(const Slot& slot) const {
  return reinterpret_cast<const char*>(entry_at(offset_of(slot.place), slot.rows).edge_ + slot.rows);
}

std::span<const int32_t> SeenWords::insert(std::string_view word, uint64_t hash, std::span<const int32_t> ids,
                                           std::span<const uint64_t> row_keys, std::span<const uint8_t> edge) {
  const size_t rows = row_keys.size();
  VERBATIM_ASSERT(ids.size() == rows * row_size_ && edge.size() == rows);
  if (word.size() > kLongestWord) return {};
  const std::lock_guard lock(writing_);
  if (const std::span<const int32_t> known = find_ids(word, hash); !known.empty()) return known;
  const size_t outside = word.size() > kInline ? word.size() : 0;
  const size_t keys_at = (ids.size_bytes() + 7) / 8 * 8;
  const size_t edge_at = keys_at + row_keys.size_bytes();
  const size_t size = (edge_at + rows + outside + kAlignment - 1) / kAlignment * kAlignment;
  if (words_ >= max_words_ || size > max_bytes_ - used_) {
    full_ = true;  // what little is left is not worth looking for smaller words
    return {};
  }
  std::byte* entry = arena_.get() + used_;
  std::memcpy(entry, ids.data(), ids.size_bytes());
  std::memcpy(entry + keys_at, row_keys.data(), row_keys.size_bytes());
  std::memcpy(entry + edge_at, edge.data(), rows);
  std::memcpy(entry + edge_at + rows, word.data(), outside);

  size_t i = hash & slot_mask_;
  while (slots_[i].place != 0) i = (i + 1) & slot_mask_;
  Slot& slot = slots_[i];
  slot.rows = static_cast<uint32_t>(rows);
  slot.text_size = static_cast<uint8_t>(word.size());
  if (outside == 0) word.copy(slot.text, kInline);
  const uint64_t place = hash >> 32 << 32 | (used_ / kAlignment + 1);
  used_ += size;
  ++words_;
  std::atomic_ref<uint64_t>(slot.place).store(place, std::memory_order_release);
  return {reinterpret_cast<const int32_t*>(entry), ids.size()};
}

}  // namespace verbatim
