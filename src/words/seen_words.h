#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

namespace verbatim {

// A quick, well-spread hash of a short string; only for tables in memory.
[[nodiscard]] inline uint64_t hash_seen_word(std::string_view word) {
  const auto mix = [](uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  const auto load = [](const char* data, auto number) {
    std::memcpy(&number, data, sizeof number);
    return static_cast<uint64_t>(number);
  };
  constexpr uint64_t kFirst = 0x9E3779B97F4A7C15, kSecond = 0xD6E8FEB86659FD93, kThird = 0xA0761D6478BD642F;
  const char* data = word.data();
  const size_t size = word.size();
  uint64_t state = kFirst ^ size;
  // The last loads overlap the ones before, so that none has a variable length.
  if (size >= 8) {
    for (size_t i = 0; i + 8 < size; i += 8) state = mix(state ^ load(data + i, uint64_t{}), kSecond);
    return mix(state ^ load(data + size - 8, uint64_t{}), kThird);
  }
  if (size >= 4) return mix(state ^ (load(data, uint32_t{}) << 32 | load(data + size - 4, uint32_t{})), kThird);
  if (size == 0) return state;
  return mix(
      state ^ (load(data, uint8_t{}) << 16 | load(data + size / 2, uint8_t{}) << 8 | load(data + size - 1, uint8_t{})),
      kThird);
}

// The rows of words seen before: reading takes no lock, writing does. What is in stays and never moves; when the room
// is used up, new words are left out. Memory is touched only as far as it is used; the
// table that finds the entries takes up to half as much again.
class SeenWords {
 public:
  static constexpr size_t kLongestWord = 255;  // bytes

  // Rows have `row_size` ids each. `max_bytes` at most 32 GiB; 0: keeps nothing.
  SeenWords(size_t row_size, size_t max_bytes);

  // A word as it is kept.
  class Entry {
   public:
    [[nodiscard]] std::span<const int32_t> ids() const { return {ids_, rows_ * row_size_}; }
    [[nodiscard]] std::span<const uint64_t> row_keys() const { return {keys_, rows_}; }
    [[nodiscard]] std::span<const uint8_t> edge() const { return {edge_, rows_}; }

   private:
    friend class SeenWords;
    const int32_t* ids_ = nullptr;
    const uint64_t* keys_ = nullptr;
    const uint8_t* edge_ = nullptr;
    uint32_t rows_ = 0;
    uint32_t row_size_ = 0;
  };

  // The ids of a word, or an empty span. `hash` is hash_seen_word(word).
  [[nodiscard]] std::span<const int32_t> find_ids(std::string_view word, uint64_t hash) const {
    const Slot* slot = find_slot(word, hash);
    if (slot == nullptr) return {};
    return {reinterpret_cast<const int32_t*>(arena_.get() + offset_of(slot->place)), slot->rows * row_size_};
  }
  // False when the word is not there.
  [[nodiscard]] bool find(std::string_view word, uint64_t hash, Entry& entry) const {
    const Slot* slot = find_slot(word, hash);
    if (slot != nullptr) entry = entry_at(offset_of(slot->place), slot->rows);
    return slot != nullptr;
  }
  // Keeps the word when there is room. Returns its ids as they are kept, or an empty span.
  std::span<const int32_t> insert(std::string_view word, uint64_t hash, std::span<const int32_t> ids,
                                  std::span<const uint64_t> row_keys, std::span<const uint8_t> edge);

  // False when insert() would certainly refuse the word.
  [[nodiscard]] bool may_take(std::string_view word) const {
    return word.size() <= kLongestWord && !full_.load(std::memory_order_relaxed);
  }

  // Brings what finding this hash reads closer, for callers that know their words some time in advance.
  void prefetch(uint64_t hash) const {
    if (max_words_ > 0) __builtin_prefetch(&slots_[hash & slot_mask_]);
  }

 private:
  // Half a cache line, so that finding a word of usual length reads one line and nothing else. In the arena an entry
  // has the ids; padded to 8 bytes, the keys; the edge flags; and the text if it is longer than kInline.
  static constexpr size_t kInline = 19;
  struct alignas(32) Slot {
    uint64_t place;  // upper half of the hash above; below, where the entry is in units of kAlignment plus 1; 0: free
    uint32_t rows;
    uint8_t text_size;
    char text[kInline];
  };
  static_assert(sizeof(Slot) == 32);
  static constexpr size_t kAlignment = 8;

  [[nodiscard]] static uint64_t read_place(Slot& slot) {
    return std::atomic_ref<uint64_t>(slot.place).load(std::memory_order_acquire);
  }
  [[nodiscard]] static size_t offset_of(uint64_t place) { return ((place & 0xFFFFFFFF) - 1) * kAlignment; }

  [[nodiscard]] static bool equal(const char* a, const char* b, size_t size) {
    const auto differ = [&](size_t at, auto number) {
      auto other = number;
      std::memcpy(&number, a + at, sizeof number);
      std::memcpy(&other, b + at, sizeof other);
      return number != other;
    };
    if (size >= 8) {
      for (size_t i = 0; i + 8 < size; i += 8) {
        if (differ(i, uint64_t{})) return false;
      }
      return !differ(size - 8, uint64_t{});
    }
    if (size >= 4) return !differ(0, uint32_t{}) && !differ(size - 4, uint32_t{});
    for (size_t i = 0; i < size; ++i) {
      if (a[i] != b[i]) return false;
    }
    return true;
  }

  [[nodiscard]] const Slot* find_slot(std::string_view word, uint64_t hash) const {
    if (max_words_ == 0) return nullptr;
    for (size_t i = hash & slot_mask_;; i = (i + 1) & slot_mask_) {
      Slot& slot = slots_[i];
      const uint64_t place = read_place(slot);
      if (place == 0) return nullptr;
      if (place >> 32 != hash >> 32 || slot.text_size != word.size()) continue;
      const char* text = word.size() <= kInline ? slot.text : long_text(slot);
      if (equal(text, word.data(), word.size())) return &slot;
    }
  }
  [[nodiscard]] const char* long_text(const Slot& slot) const;
  [[nodiscard]] Entry entry_at(size_t offset, size_t rows) const;

  struct Unmap {
    size_t bytes;
    void operator()(void* memory) const;
  };
  size_t row_size_;
  size_t max_bytes_;
  size_t max_words_ = 0;
  size_t slot_mask_ = 0;
  std::unique_ptr<Slot[], Unmap> slots_{nullptr, Unmap{0}};
  std::unique_ptr<std::byte[], Unmap> arena_{nullptr, Unmap{0}};
  std::mutex writing_;
  std::atomic<bool> full_ = false;
  size_t words_ = 0;
  size_t used_ = 0;  // bytes of the arena
};

}  // namespace verbatim
