#include "words/trigram_hasher.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <mutex>
#include <string>

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

// The keys of one word's trigrams, each once. Open addressing, at most half full; the memory is used again.
class KeySet {
 public:
  // Empties it. `count`: how many keys will come at most, as far as that is known.
  void reset(size_t count) {
    constexpr size_t kMostAtFirst = 4096;  // a word of megabytes may repeat few trigrams
    bits_ = std::bit_width(std::min(count, kMostAtFirst)) + 1;
    slots_.assign(size_t{1} << bits_, kFree);
    size_ = 0;
  }

  // False when the key is there already.
  bool insert(uint64_t key) {
    uint64_t& slot = slot_of(key);
    if (slot == key) return false;
    slot = key;
    if (++size_ * 2 > slots_.size()) grow();
    return true;
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};  // no key is all ones

  // The slot with the key, or the free one where it would go.
  uint64_t& slot_of(uint64_t key) {
    const size_t mask = slots_.size() - 1;
    size_t place = key * 0x9E3779B97F4A7C15 >> (64 - bits_);
    while (slots_[place] != kFree && slots_[place] != key) place = (place + 1) & mask;
    return slots_[place];
  }

  void grow() {
    const std::vector<uint64_t> keys = std::move(slots_);
    ++bits_;
    slots_.assign(size_t{1} << bits_, kFree);
    for (const uint64_t key : keys) {
      if (key != kFree) slot_of(key) = key;
    }
  }

  std::vector<uint64_t> slots_;
  int bits_ = 0;
  size_t size_ = 0;
};

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

  // Brings the place of a key closer, for callers that will ask for it soon.
  void prefetch(uint64_t key) const {
    const Table& table = *current_.load(std::memory_order_acquire);
    __builtin_prefetch(&table.slots[mix_bits(key) & (table.slots.size() - 1)]);
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
  block_ = used_ = 0;
}

std::span<int32_t> IdLists::allocate(size_t count) {
  constexpr size_t kBlock = size_t{1} << 16;
  while (block_ < blocks_.size() && count > blocks_[block_].size - used_) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const size_t size = std::max(kBlock, count);
    blocks_.push_back({std::make_unique_for_overwrite<int32_t[]>(size), size});
  }
  const std::span<int32_t> ids(blocks_[block_].ids.get() + used_, count);
  used_ += count;
  return ids;
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

  // What computing a word needs besides its result; kept for the next word.
  struct Scratch {
    WordRows rows;
    std::string folded;
    KeySet known;
  };

  [[nodiscard]] bool is_hashed_whole(std::string_view word) const {
    return options.whole_words || word.find("<|") != std::string_view::npos;
  }

  // The rows of a word, without looking it up, into `scratch.rows`.
  void compute(std::string_view word, Scratch& scratch) {
    WordRows& out = scratch.rows;
    out.clear();
    if (is_hashed_whole(word)) {
      hash_whole(word, out);
      return;
    }
    find_trigrams(word, scratch);
    out.ids.resize(out.row_keys.size() * options.ids_per_trigram);
    copy_rows(out.row_keys, out.ids.data());
    for (const uint64_t key : out.row_keys) out.edge.push_back(is_edge(trigram_of(key)) ? 1 : 0);
  }

  // The ids of a word that is not among those seen before, which it joins if there is room; otherwise they come to
  // stand where allocate(count) says.
  template <class Allocate>
  std::span<const int32_t> learn(std::string_view word, uint64_t hash, Scratch& scratch, Allocate allocate) {
    if (word.empty()) throw_input("an empty word has no trigrams");
    WordRows& rows = scratch.rows;
    if (seen.may_take(word) || is_hashed_whole(word)) {
      compute(word, scratch);
      const std::span<const int32_t> kept = seen.insert(word, hash, rows.ids, rows.row_keys, rows.edge);
      if (!kept.empty()) return kept;
      const std::span<int32_t> ids = allocate(rows.ids.size());
      std::copy(rows.ids.begin(), rows.ids.end(), ids.begin());
      return ids;
    }
    find_trigrams(word, scratch);
    const std::span<int32_t> ids = allocate(rows.row_keys.size() * options.ids_per_trigram);
    copy_rows(rows.row_keys, ids.data());
    return ids;
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

  // The keys of the distinct trigrams of a word, in the order of their first occurrence, into `scratch.rows`.
  void find_trigrams(std::string_view word, Scratch& scratch) const {
    const bool folds = options.shared_ids > 0;
    const bool folds_strictly = folds && options.strict;
    std::string_view folded = word;
    if (folds && !folds_strictly) {
      fold_case_in_place(word, scratch.folded);
      folded = scratch.folded;
    }
    std::vector<uint64_t>& keys = scratch.rows.row_keys;
    keys.clear();
    scratch.known.reset(word.size());
    uint32_t trigram = uint32_t{' '} << 8 | uint32_t{static_cast<uint8_t>(word.front())} << 16;
    uint32_t folded_trigram = uint32_t{' '} << 8 | uint32_t{static_cast<uint8_t>(folded.front())} << 16;
    const auto append = [](uint32_t window, uint8_t byte) { return window >> 8 | uint32_t{byte} << 16; };
    for (size_t i = 1; i <= word.size(); ++i) {
      trigram = append(trigram, i < word.size() ? static_cast<uint8_t>(word[i]) : ' ');
      uint32_t other = trigram;
      if (folds) {
        folded_trigram = append(folded_trigram, i < word.size() ? static_cast<uint8_t>(folded[i]) : ' ');
        other = folds_strictly ? fold_strictly(trigram) : folded_trigram;
      }
      const uint64_t key = row_key(trigram, other);
      if (!scratch.known.insert(key)) continue;
      keys.push_back(key);
      memo.prefetch(key);
    }
  }

  static uint32_t trigram_of(uint64_t key) { return static_cast<uint32_t>(key & (kTrigrams - 1)); }

  // [keys.size() * m]
  void copy_rows(std::span<const uint64_t> keys, int32_t* ids) {
    const size_t m = options.ids_per_trigram;
    for (const uint64_t key : keys) {
      const int32_t* from = row(trigram_of(key), static_cast<uint32_t>(key >> 24));
      for (size_t i = 0; i < m; ++i) ids[i] = from[i];
      ids += m;
    }
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
    Impl::Scratch scratch;
    if (word.empty()) throw_input("an empty word has no trigrams");
    impl_->compute(word, scratch);
    out = std::move(scratch.rows);
    (void)impl_->seen.insert(word, hash, out.ids, out.row_keys, out.edge);
    return;
  }
  out.ids.assign(entry.ids().begin(), entry.ids().end());
  out.row_keys.assign(entry.row_keys().begin(), entry.row_keys().end());
  out.edge.assign(entry.edge().begin(), entry.edge().end());
}

void TrigramHasher::append_ids(std::string_view word, std::vector<int32_t>& ids) const {
  const uint64_t hash = hash_seen_word(word);
  const std::span<const int32_t> known = impl_->seen.find_ids(word, hash);
  if (!known.empty()) {
    ids.insert(ids.end(), known.begin(), known.end());
    return;
  }
  Impl::Scratch scratch;
  const size_t before = ids.size();
  const std::span<const int32_t> learnt = impl_->learn(word, hash, scratch, [&](size_t count) {
    ids.resize(before + count);
    return std::span(ids).subspan(before);
  });
  if (ids.size() == before) ids.insert(ids.end(), learnt.begin(), learnt.end());
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
  Impl::Scratch scratch;
  out.list.reserve(out.list.size() + words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    const uint64_t hash = hashes[i % kAhead];
    if (i + kAhead < words.size()) hash_word_at(i + kAhead);
    std::span<const int32_t> ids = impl_->seen.find_ids(words[i].text, hash);
    if (ids.empty())
      ids = impl_->learn(words[i].text, hash, scratch, [&](size_t count) { return out.allocate(count); });
    out.list.push_back(ids);
  }
}

std::span<const int32_t> TrigramHasher::row(uint32_t trigram, uint32_t folded) const {
  VERBATIM_ASSERT(trigram < kTrigrams && folded < kTrigrams);
  return {impl_->row(trigram, folded), options_.ids_per_trigram};
}

}  // namespace verbatim
