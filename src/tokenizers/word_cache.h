#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>

namespace verbatim {

// A quick, well-spread hash for short strings; only for tables in memory.
[[nodiscard]] inline uint64_t hash_word(std::string_view word) {
  const auto mix = [](uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  uint64_t state = 0x9E3779B97F4A7C15u ^ word.size();
  const char* data = word.data();
  size_t left = word.size();
  for (; left >= 8; data += 8, left -= 8) {
    uint64_t chunk;
    std::memcpy(&chunk, data, 8);
    state = mix(state ^ chunk, 0xD6E8FEB86659FD93u);
  }
  uint64_t chunk = 0;
  std::memcpy(&chunk, data, left);
  return mix(state ^ chunk, 0xA0761D6478BD642Fu);
}

// The ids of words seen before: a table with one place per hash, a newer word replaces an older one. Words of more than
// kMaxKey bytes or kMaxIds ids are not kept. 4 MiB, touched only as far as it is used. Not thread safe.
class WordCache {
 public:
  static constexpr size_t kMaxKey = 46;
  static constexpr size_t kMaxIds = 18;

  WordCache() : entries_(static_cast<Entry*>(std::calloc(kEntries, sizeof(Entry)))) {
    if (!entries_) throw std::bad_alloc();
  }

  // The ids, or an empty span when the word is not known. Valid until the next insert.
  [[nodiscard]] std::span<const int32_t> find(std::string_view word, uint64_t hash) const {
    const Entry& entry = entries_[hash & (kEntries - 1)];
    if (entry.hash != hash || entry.key_size != word.size()) return {};
    if (std::memcmp(entry.key, word.data(), word.size()) != 0) return {};
    return {entry.ids, entry.num_ids};
  }

  void insert(std::string_view word, uint64_t hash, std::span<const int32_t> ids) {
    if (word.size() > kMaxKey || ids.size() > kMaxIds) return;
    Entry& entry = entries_[hash & (kEntries - 1)];
    entry.hash = hash;
    entry.key_size = static_cast<uint8_t>(word.size());
    entry.num_ids = static_cast<uint8_t>(ids.size());
    std::memcpy(entry.key, word.data(), word.size());
    std::copy(ids.begin(), ids.end(), entry.ids);
  }

 private:
  static constexpr size_t kEntries = size_t{1} << 15;

  struct Entry {
    uint64_t hash;
    uint8_t key_size;
    uint8_t num_ids;  // 0: free
    char key[kMaxKey];
    int32_t ids[kMaxIds];
  };
  static_assert(sizeof(Entry) == 128);

  struct Free {
    void operator()(Entry* entries) const { std::free(entries); }
  };
  std::unique_ptr<Entry[], Free> entries_;
};

}  // namespace verbatim
