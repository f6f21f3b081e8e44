#include "words/trigram_hasher.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/mix.h"
#include "words/case_mapping.h"
#include "words/md5.h"
#include "words/seen_words.h"
#include "words/trigram_rows.h"
#include "words/trigram_table.h"

namespace verbatim {
namespace {

constexpr uint64_t kLargestCache = uint64_t{1} << 35;

// Keys of trigram rows use 48 bits; keys of whole words have the highest bit set.
constexpr uint64_t kWholeWordKey = uint64_t{1} << 63;
constexpr uint64_t row_key(uint32_t trigram, uint32_t folded) { return uint64_t{folded} << 24 | trigram; }

bool is_edge(uint32_t trigram) { return (trigram & 0xFF) == ' ' || trigram >> 16 == ' '; }

// Section 2.3: the lower-case form of a trigram of ASCII letters and blanks; any other trigram itself.
uint32_t fold_strictly(uint32_t trigram) {
  uint32_t folded = 0;
  for (int shift = 0; shift < 24; shift += 8) {
    uint32_t byte = trigram >> shift & 0xFF;
    const bool upper = byte >= 'A' && byte <= 'Z';
    if (!upper && !(byte >= 'a' && byte <= 'z') && byte != ' ') return trigram;
    if (upper) byte += 'a' - 'A';
    folded |= byte << shift;
  }
  return folded;
}

bool contains(const int32_t* begin, const int32_t* end, int32_t id) { return std::find(begin, end, id) != end; }

// Rows by key, computed on first use; they never move. Reading takes no lock.
class RowMemo {
 public:
  explicit RowMemo(size_t row_size) : row_size_(row_size) { grow(); }

  // compute(int32_t* row) fills a new row; it may run twice for one key when two threads ask at the same time.
  template <class Compute>
  const int32_t* find(uint64_t key, Compute compute) {
    if (const int32_t* row = slot_of(*current_.load(std::memory_order_acquire), key).row) return row;
    std::vector<int32_t> row(row_size_);
    compute(row.data());
    return insert(key, row);
  }

 private:
  static constexpr size_t kFirstSlots = size_t{1} << 12;
  static constexpr size_t kRowsPerBlock = 1024;

  struct Slot {
    uint64_t key = 0;
    std::atomic<const int32_t*> row = nullptr;  // null: free; written after the key
  };
  struct Table {
    explicit Table(size_t slots) : slots(slots) {}
    std::vector<Slot> slots;  // a power of two
  };

  // The slot with the key, or the free one where it would go.
  static Slot& slot_of(Table& table, uint64_t key) {
    const size_t mask = table.slots.size() - 1;
    for (size_t place = mix_bits(key) & mask;; place = (place + 1) & mask) {
      Slot& slot = table.slots[place];
      if (slot.row.load(std::memory_order_acquire) == nullptr || slot.key == key) return slot;
    }
  }

  const int32_t* insert(uint64_t key, const std::vector<int32_t>& row) {
    const std::lock_guard lock(writing_);
    if (const int32_t* known = slot_of(*tables_.back(), key).row) return known;
    if (rows_ * 2 >= tables_.back()->slots.size()) grow();
    if (rows_ % kRowsPerBlock == 0) blocks_.push_back(std::make_unique<int32_t[]>(kRowsPerBlock * row_size_));
    int32_t* kept = blocks_.back().get() + rows_ % kRowsPerBlock * row_size_;
    std::copy(row.begin(), row.end(), kept);
    ++rows_;
    Slot& slot = slot_of(*tables_.back(), key);
    slot.key = key;
    slot.row.store(kept, std::memory_order_release);
    return kept;
  }

  // Readers may still be in the old table: it stays, and does not change any more.
  void grow() {
    auto larger = std::make_unique<Table>(tables_.empty() ? kFirstSlots : tables_.back()->slots.size() * 2);
    if (!tables_.empty()) {
      for (const Slot& slot : tables_.back()->slots) {
        if (slot.row == nullptr) continue;
        Slot& place = slot_of(*larger, slot.key);
        place.key = slot.key;
        place.row = slot.row.load();
      }
    }
    current_.store(larger.get(), std::memory_order_release);
    tables_.push_back(std::move(larger));
  }

  size_t row_size_;
  std::atomic<Table*> current_ = nullptr;
  std::mutex writing_;
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<std::unique_ptr<int32_t[]>> blocks_;
  size_t rows_ = 0;
};

}  // namespace

void WordRows::clear() {
  row_keys.clear();
  ids.clear();
  edge.clear();
}

void IdLists::clear() {
  list.clear();
  storage.clear();
}

struct TrigramHasher::Impl {
  Impl(const TrigramOptions& options, std::shared_ptr<const TrigramTable> table)
      : options(options),
        table(std::move(table)),
        trigram_rows(options.vocabulary, options.ids_per_trigram),
        modulus(options.vocabulary),
        memo(options.ids_per_trigram),
        seen(options.ids_per_trigram, options.cache_bytes) {}

  const int32_t* plain_row(uint32_t trigram) {
    return memo.find(row_key(trigram, trigram), [&](int32_t* row) {
      if (table != nullptr) {
        table->read_row(trigram, row);
      } else {
        trigram_rows.compute({&trigram, 1}, row);
      }
    });
  }

  const int32_t* row(uint32_t trigram, uint32_t folded) {
    if (trigram == folded || options.shared_ids == 0) return plain_row(trigram);
    return memo.find(row_key(trigram, folded), [&](int32_t* row) { mix_rows(trigram, folded, row); });
  }

  void mix_rows(uint32_t trigram, uint32_t folded, int32_t* row) {
    const size_t m = options.ids_per_trigram, shared = options.shared_ids;
    const int32_t* own = plain_row(trigram);
    const int32_t* common = plain_row(folded);
    if (options.strict) {
      std::copy(own, own + m - shared, row);
      std::copy(common + m - shared, common + m, row + m - shared);
      return;
    }
    // The same ids for every spelling of `folded`, so that spellings share with each other what they share with it.
    std::vector<uint32_t> order;
    shuffled_slots(folded, order);
    for (size_t i = 0; i < shared; ++i) row[i] = common[order[i]];
    shuffled_slots(trigram, order);
    size_t filled = shared;
    for (size_t i = 0; filled < m; ++i) {
      if (!contains(row, row + shared, own[order[i]])) row[filled++] = own[order[i]];
    }
    std::sort(row, row + m);
  }

  // 0..m-1 in an order fixed by the trigram.
  void shuffled_slots(uint32_t trigram, std::vector<uint32_t>& order) const {
    order.resize(options.ids_per_trigram);
    uint64_t state = trigram;
    for (uint32_t i = 0; i < order.size(); ++i) {
      state = mix_bits(state + 0x9E3779B97F4A7C15);
      const auto place = static_cast<uint32_t>(state % (i + 1));
      order[i] = order[place];
      order[place] = i;
    }
  }

  // The rows of a word, without looking it up. Replaces `out`.
  void compute(std::string_view word, WordRows& out) {
    if (word.empty()) throw_input("an empty word has no trigrams");
    out.clear();
    if (options.whole_words || word.find("<|") != std::string_view::npos) {
      hash_whole(word, out);
    } else {
      hash_trigrams(word, out);
    }
  }

  // The ids of a word that is not among those seen before, which it joins if there is room; otherwise they stand in
  // `rows`.
  std::span<const int32_t> learn(std::string_view word, uint64_t hash, WordRows& rows) {
    compute(word, rows);
    const std::span<const int32_t> kept = seen.insert(word, hash, rows.ids, rows.row_keys, rows.edge);
    return kept.empty() ? rows.ids : kept;
  }

  void hash_whole(std::string_view word, WordRows& out) const {
    const uint32_t m = options.ids_per_trigram, own = m - options.shared_ids;
    out.row_keys.push_back(kWholeWordKey | hash128(word).low);
    out.edge.push_back(0);
    out.ids.resize(m);
    const std::string original = std::string(word) + "_";
    const std::string lowered = lower_case(word) + "_lower_";
    for (uint32_t slot = 0; slot < m; ++slot) {
      const std::string message = slot < own ? original + std::to_string(slot) : lowered + std::to_string(slot - own);
      out.ids[slot] = modulus(md5(message));
      if (options.strict) continue;
      for (uint32_t attempt = 1; contains(out.ids.data(), out.ids.data() + slot, out.ids[slot]); ++attempt) {
        out.ids[slot] = modulus(md5(message + "_" + std::to_string(attempt)));
      }
    }
  }

  void hash_trigrams(std::string_view word, WordRows& out) {
    std::string wrapped = " ";
    wrapped.append(word).push_back(' ');
    std::string folded;
    const bool folds = options.shared_ids > 0 && !options.strict;
    if (folds) fold_case_in_place(wrapped, folded);
    for (size_t i = 0; i + 3 <= wrapped.size(); ++i) {
      const uint32_t trigram = trigram_number(wrapped.data() + i);
      const uint32_t folded_trigram = folds                    ? trigram_number(folded.data() + i)
                                      : options.shared_ids > 0 ? fold_strictly(trigram)
                                                               : trigram;
      out.row_keys.push_back(row_key(trigram, folded_trigram));
    }
    keep_first(out.row_keys);
    out.ids.reserve(out.row_keys.size() * options.ids_per_trigram);
    for (const uint64_t key : out.row_keys) {
      const auto trigram = static_cast<uint32_t>(key & (kTrigrams - 1));
      const int32_t* ids = row(trigram, static_cast<uint32_t>(key >> 24));
      out.ids.insert(out.ids.end(), ids, ids + options.ids_per_trigram);
      out.edge.push_back(is_edge(trigram) ? 1 : 0);
    }
  }

  // Removes all keys that stood before.
  static void keep_first(std::vector<uint64_t>& keys) {
    if (keys.size() <= 64) {
      size_t kept = 0;
      for (const uint64_t key : keys) {
        if (std::find(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(kept), key) ==
            keys.begin() + static_cast<ptrdiff_t>(kept)) {
          keys[kept++] = key;
        }
      }
      keys.resize(kept);
      return;
    }
    std::unordered_map<uint64_t, bool> seen;
    std::erase_if(keys, [&](uint64_t key) { return !seen.try_emplace(key, true).second; });
  }

  TrigramOptions options;
  std::shared_ptr<const TrigramTable> table;
  TrigramRows trigram_rows;
  DigestModulus modulus;
  RowMemo memo;
  SeenWords seen;
};

TrigramHasher::TrigramHasher(TrigramOptions options, std::shared_ptr<const TrigramTable> table) : options_(options) {
  if (options.shared_ids > options.ids_per_trigram) {
    throw_input("a trigram cannot share {} of its {} ids", options.shared_ids, options.ids_per_trigram);
  }
  if (table != nullptr &&
      (table->vocabulary() != options.vocabulary || table->ids_per_trigram() != options.ids_per_trigram)) {
    throw_input("the table of trigrams has {} ids of {} in a row, the model {} of {}; write one for this model",
                table->ids_per_trigram(), table->vocabulary(), options.ids_per_trigram, options.vocabulary);
  }
  if (options.cache_bytes > kLargestCache) {
    throw_input("a cache of {} bytes is too large; at most {}", options.cache_bytes, kLargestCache);
  }
  impl_ = std::make_unique<Impl>(options, std::move(table));
}

TrigramHasher::~TrigramHasher() = default;

void TrigramHasher::hash(std::string_view word, WordRows& out) const {
  const uint64_t hash = hash_seen_word(word);
  SeenWords::Entry entry;
  if (!impl_->seen.find(word, hash, entry)) {
    (void)impl_->learn(word, hash, out);
    return;
  }
  out.ids.assign(entry.ids().begin(), entry.ids().end());
  out.row_keys.assign(entry.row_keys().begin(), entry.row_keys().end());
  out.edge.assign(entry.edge().begin(), entry.edge().end());
}

void TrigramHasher::append_ids(std::string_view word, std::vector<int32_t>& ids) const {
  const uint64_t hash = hash_seen_word(word);
  std::span<const int32_t> known = impl_->seen.find_ids(word, hash);
  WordRows rows;
  if (known.empty()) known = impl_->learn(word, hash, rows);
  ids.insert(ids.end(), known.begin(), known.end());
}

void TrigramHasher::append_lists(std::span<const Word> words, IdLists& out) const {
  // Slots lie anywhere in memory: each is asked for some words before it is read.
  constexpr size_t kAhead = 32;
  std::array<uint64_t, kAhead> hashes;
  const auto hash_word_at = [&](size_t i) {
    const uint64_t hash = hash_seen_word(words[i].text);
    impl_->seen.prefetch(hash);
    hashes[i % kAhead] = hash;
  };
  for (size_t i = 0; i < std::min(kAhead, words.size()); ++i) hash_word_at(i);
  WordRows rows;
  out.list.reserve(out.list.size() + words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    const uint64_t hash = hashes[i % kAhead];
    if (i + kAhead < words.size()) hash_word_at(i + kAhead);
    std::span<const int32_t> ids = impl_->seen.find_ids(words[i].text, hash);
    if (ids.empty()) {
      ids = impl_->learn(words[i].text, hash, rows);
      if (ids.data() == rows.ids.data()) ids = out.storage.emplace_back(std::move(rows.ids));
    }
    out.list.push_back(ids);
  }
}

std::span<const int32_t> TrigramHasher::row(uint32_t trigram, uint32_t folded) const {
  VERBATIM_ASSERT(trigram < kTrigrams && folded < kTrigrams);
  return {impl_->row(trigram, folded), options_.ids_per_trigram};
}

}  // namespace verbatim
