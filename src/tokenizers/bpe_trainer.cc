#include "tokenizers/bpe_trainer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <queue>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/scratch_pool.h"
#include "tokenizers/word_cache.h"

namespace verbatim {
namespace {

constexpr size_t kMostWordBytes = 1024;
constexpr int64_t kMostTokens = int64_t{1} << 24;

// Counts of words, keys in one block of memory.
class WordCounts {
 public:
  WordCounts() : slots_(1024) {}

  void add(std::string_view word, uint64_t hash, int64_t count) {
    if ((words_.size() + 1) * 2 > slots_.size()) grow();
    for (size_t slot = hash & (slots_.size() - 1);; slot = (slot + 1) & (slots_.size() - 1)) {
      Slot& place = slots_[slot];
      if (place.index == kFree) {
        place = {hash, static_cast<uint32_t>(words_.size())};
        words_.push_back({keep(word), hash, count});
        return;
      }
      if (place.hash == hash && words_[place.index].text == word) {
        words_[place.index].count += count;
        return;
      }
    }
  }

  struct Word {
    std::string_view text;
    uint64_t hash;
    int64_t count;
  };
  [[nodiscard]] const std::vector<Word>& words() const { return words_; }

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};
  static constexpr size_t kBlockBytes = size_t{1} << 20;

  struct Slot {
    uint64_t hash = 0;
    uint32_t index = kFree;
  };

  void grow() {
    VERBATIM_ASSERT(words_.size() < kFree / 2, "too many distinct words");
    std::vector<Slot> bigger(slots_.size() * 2);
    for (uint32_t i = 0; i < words_.size(); ++i) {
      size_t slot = words_[i].hash & (bigger.size() - 1);
      while (bigger[slot].index != kFree) slot = (slot + 1) & (bigger.size() - 1);
      bigger[slot] = {words_[i].hash, i};
    }
    slots_ = std::move(bigger);
  }

  std::string_view keep(std::string_view word) {
    if (blocks_.empty() || blocks_.back().size() + word.size() > blocks_.back().capacity()) {
      blocks_.emplace_back().reserve(kBlockBytes);
    }
    std::string& block = blocks_.back();
    const size_t begin = block.size();
    block += word;
    return std::string_view(block).substr(begin, word.size());
  }

  std::vector<Slot> slots_;
  std::vector<Word> words_;
  std::deque<std::string> blocks_;
};

// The words as token sequences with the counts of all neighbouring pairs, kept exact through every merge.
class PairCounts {
 public:
  explicit PairCounts(const std::vector<WordCounts::Word>& words) {
    size_t total = 0;
    for (const WordCounts::Word& word : words) total += word.text.size();
    symbols_.reserve(total);
    begins_.reserve(words.size() + 1);
    for (const WordCounts::Word& word : words) {
      begins_.push_back(symbols_.size());
      for (const char byte : word.text) symbols_.push_back(static_cast<uint8_t>(byte));
      counts_.push_back(word.count);
      sizes_.push_back(static_cast<uint32_t>(word.text.size()));
    }
    grow(size_t{1} << 16);
    for (uint32_t word = 0; word < counts_.size(); ++word) {
      const int32_t* symbols = symbols_.data() + begins_[word];
      for (uint32_t i = 0; i + 1 < sizes_[word]; ++i) change(symbols[i], symbols[i + 1], counts_[word], word);
    }
  }

  struct Pair {
    int32_t left = 0;
    int32_t right = 0;
    int64_t count = 0;
    std::vector<uint32_t> words = {};  // where it occurs or has occurred
    bool changed = false;
  };
  [[nodiscard]] const Pair& pair(uint32_t index) const { return pairs_[index]; }
  // Pairs whose count has risen since the last call.
  [[nodiscard]] std::vector<uint32_t> take_risen() {
    for (const uint32_t index : risen_) pairs_[index].changed = false;
    return std::exchange(risen_, {});
  }

  // Replaces all occurrences of the pair, from left to right in each word.
  void merge(uint32_t index, int32_t result) {
    const int32_t left = pairs_[index].left;
    const int32_t right = pairs_[index].right;
    const std::vector<uint32_t> words = std::move(pairs_[index].words);
    pairs_[index].words = {};
    uint32_t previous_word = std::numeric_limits<uint32_t>::max();
    for (const uint32_t word : words) {
      if (word == previous_word) continue;
      previous_word = word;
      merge_in_word(word, left, right, result);
    }
  }

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};

  void merge_in_word(uint32_t word, int32_t left, int32_t right, int32_t result) {
    int32_t* symbols = symbols_.data() + begins_[word];
    const uint32_t size = sizes_[word];
    const int64_t count = counts_[word];
    uint32_t read = 0;
    uint32_t written = 0;
    while (read < size) {
      if (read + 1 >= size || symbols[read] != left || symbols[read + 1] != right) {
        symbols[written++] = symbols[read++];
        continue;
      }
      // Neighbours as they are now: behind, what has been written; ahead, what has not been read.
      change(left, right, -count, word);
      if (written > 0) {
        change(symbols[written - 1], left, -count, word);
        change(symbols[written - 1], result, count, word);
      }
      if (read + 2 < size) {
        change(right, symbols[read + 2], -count, word);
        change(result, symbols[read + 2], count, word);
      }
      symbols[written++] = result;
      read += 2;
    }
    sizes_[word] = written;
  }

  void change(int32_t left, int32_t right, int64_t by, uint32_t word) {
    Pair& pair = pairs_[index_of(left, right)];
    pair.count += by;
    if (by < 0) return;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
    if (!pair.changed) {
      pair.changed = true;
      risen_.push_back(static_cast<uint32_t>(&pair - pairs_.data()));
    }
  }

  uint32_t index_of(int32_t left, int32_t right) {
    const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & (keys_.size() - 1)) {
      if (indexes_[slot] == kFree) {
        if ((pairs_.size() + 1) * 2 > keys_.size()) {
          grow(keys_.size() * 2);
          return index_of(left, right);
        }
        keys_[slot] = key;
        indexes_[slot] = static_cast<uint32_t>(pairs_.size());
        pairs_.push_back({.left = left, .right = right});
        return indexes_[slot];
      }
      if (keys_[slot] == key) return indexes_[slot];
    }
  }

  [[nodiscard]] size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  void grow(size_t num_slots) {
    keys_.assign(num_slots, 0);
    indexes_.assign(num_slots, kFree);
    shift_ = 64 - std::countr_zero(num_slots);
    for (uint32_t i = 0; i < pairs_.size(); ++i) {
      const uint64_t key = static_cast<uint64_t>(pairs_[i].left) << 32 | static_cast<uint32_t>(pairs_[i].right);
      size_t slot = slot_of(key);
      while (indexes_[slot] != kFree) slot = (slot + 1) & (num_slots - 1);
      keys_[slot] = key;
      indexes_[slot] = i;
    }
  }

  std::vector<int32_t> symbols_;
  std::vector<size_t> begins_;
  std::vector<uint32_t> sizes_;
  std::vector<int64_t> counts_;
  std::vector<Pair> pairs_;
  std::vector<uint32_t> risen_;
  std::vector<uint64_t> keys_;
  std::vector<uint32_t> indexes_;
  int shift_ = 0;
};

struct Learned {
  std::vector<std::string> tokens;                  // bytes, by id
  std::vector<std::pair<int32_t, int32_t>> merges;  // in order
};

Learned learn(PairCounts& counts, const BpeTrainerOptions& options, const std::function<void(int64_t)>& progress) {
  Learned learned;
  std::unordered_map<std::string, int32_t> ids;
  for (int byte = 0; byte < 256; ++byte) {
    learned.tokens.emplace_back(1, static_cast<char>(byte));
    ids.emplace(learned.tokens.back(), byte);
  }
  struct Candidate {
    int64_t count;
    uint32_t index;
  };
  const auto text = [&](int32_t id) -> const std::string& { return learned.tokens[static_cast<size_t>(id)]; };
  const auto goes_later = [&](const Candidate& a, const Candidate& b) {
    if (a.count != b.count) return a.count < b.count;
    if (a.index == b.index) return false;
    const PairCounts::Pair& x = counts.pair(a.index);
    const PairCounts::Pair& y = counts.pair(b.index);
    if (const int order = text(x.left).compare(text(y.left)); order != 0) return order > 0;
    return text(x.right) > text(y.right);
  };
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(goes_later)> queue(goes_later);
  const auto push_risen = [&] {
    for (const uint32_t index : counts.take_risen()) {
      const PairCounts::Pair& pair = counts.pair(index);
      if (pair.count < std::max<int64_t>(options.min_count, 1)) continue;
      if (text(pair.left).size() + text(pair.right).size() > options.max_token_bytes) continue;
      queue.push({pair.count, index});
    }
  };
  push_risen();
  const auto wanted = static_cast<size_t>(options.vocabulary_size - 1);  // the end-of-text symbol comes on top
  while (learned.tokens.size() < wanted && !queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const PairCounts::Pair& pair = counts.pair(best.index);
    if (pair.count != best.count) {
      // The count has fallen since (a risen one has its own, newer entry).
      if (pair.count < best.count && pair.count >= std::max<int64_t>(options.min_count, 1)) {
        queue.push({pair.count, best.index});
      }
      continue;
    }
    const int32_t left = pair.left;
    const int32_t right = pair.right;
    // Two pairs can spell the same token. Only the first one becomes a merge: every token has exactly one.
    const auto [place, is_new] = ids.try_emplace(text(left) + text(right), static_cast<int32_t>(learned.tokens.size()));
    if (!is_new) continue;
    learned.tokens.push_back(place->first);
    learned.merges.emplace_back(left, right);
    counts.merge(best.index, place->second);
    push_risen();
    if (progress && learned.merges.size() % 256 == 0) progress(static_cast<int64_t>(learned.tokens.size()));
  }
  return learned;
}

using OrderedJson = nlohmann::ordered_json;

std::string write_json(const Learned& learned, const BpeTrainerOptions& options) {
  const auto end_id = static_cast<int64_t>(learned.tokens.size());
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array({{{"id", end_id},
                                              {"content", options.end_of_text},
                                              {"single_word", false},
                                              {"lstrip", false},
                                              {"rstrip", false},
                                              {"normalized", false},
                                              {"special", true}}});
  json["normalizer"] = nullptr;
  OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  OrderedJson decoder = byte_level;
  if (options.pattern == WordPattern::kGpt2) {
    json["pre_tokenizer"] = byte_level;
  } else {
    byte_level["use_regex"] = false;
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers", OrderedJson::array({{{"type", "Split"},
                                               {"pattern", {{"Regex", std::string(regex_of(options.pattern))}}},
                                               {"behavior", "Isolated"},
                                               {"invert", false}},
                                              byte_level})}};
  }
  json["post_processor"] = nullptr;
  json["decoder"] = decoder;
  OrderedJson vocabulary = OrderedJson::object();
  std::vector<std::string> spelled;
  spelled.reserve(learned.tokens.size());
  for (const std::string& token : learned.tokens) spelled.push_back(to_byte_level(token));
  for (size_t id = 0; id < spelled.size(); ++id)
    vocabulary.get_ref<OrderedJson::object_t&>().emplace_back(spelled[id], id);
  vocabulary.get_ref<OrderedJson::object_t&>().emplace_back(options.end_of_text, end_id);
  // "left right" is the spelling that every version of the library reads; no piece contains a space.
  OrderedJson merges = OrderedJson::array();
  for (const auto& [left, right] : learned.merges) {
    merges.push_back(spelled[static_cast<size_t>(left)] + " " + spelled[static_cast<size_t>(right)]);
  }
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", std::move(vocabulary)},
                   {"merges", std::move(merges)}};
  return json.dump(1) + "\n";
}

}  // namespace

struct BpeTrainer::Impl {
  BpeTrainerOptions options;
  ScratchPool<WordCounts> counts;
};

BpeTrainer::BpeTrainer(BpeTrainerOptions options) : impl_(std::make_unique<Impl>()) {
  if (options.vocabulary_size < 257 || options.vocabulary_size > kMostTokens) {
    throw_input("the vocabulary size is {}, must be from 257 (256 bytes and the end of text) to {}",
                options.vocabulary_size, kMostTokens);
  }
  if (options.end_of_text.empty()) throw_input("the end-of-text symbol must not be empty");
  if (options.max_token_bytes < 1) throw_input("the longest token must have at least one byte");
  impl_->options = std::move(options);
}
BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::string_view document) {
  auto counts = impl_->counts.take();
  for (size_t begin = 0; begin < document.size();) {
    const size_t end = word_end(impl_->options.pattern, document, begin);
    for (size_t part = begin; part < end; part += kMostWordBytes) {
      const std::string_view word = document.substr(part, std::min(kMostWordBytes, end - part));
      counts->add(word, hash_word(word), 1);
    }
    begin = end;
  }
}

std::string BpeTrainer::train(const std::function<void(int64_t)>& progress) {
  const std::vector<std::unique_ptr<WordCounts>> parts = impl_->counts.take_all();
  WordCounts merged;
  for (const std::unique_ptr<WordCounts>& part : parts) {
    for (const WordCounts::Word& word : part->words()) merged.add(word.text, word.hash, word.count);
  }
  // Sorted, so that nothing depends on who counted what; single bytes have no pairs.
  std::vector<WordCounts::Word> words;
  for (const WordCounts::Word& word : merged.words()) {
    if (word.text.size() > 1) words.push_back(word);
  }
  std::sort(words.begin(), words.end(),
            [](const WordCounts::Word& a, const WordCounts::Word& b) { return a.text < b.text; });
  PairCounts counts(words);
  return write_json(learn(counts, impl_->options, progress), impl_->options);
}

std::string train_bpe(const BpeTrainerOptions& options, uint64_t num_documents,
                      const std::function<std::string_view(uint64_t)>& document) {
  BpeTrainer trainer(options);
  const uint64_t processors = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t wanted = options.num_threads == 0 ? processors : options.num_threads;
  const uint64_t num_threads = std::max<uint64_t>(1, std::min(wanted, num_documents));
  std::atomic<uint64_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (uint64_t i = next++; i < num_documents; i = next++) trainer.add(document(i));
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = num_documents;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 1; i < num_threads; ++i) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return trainer.train();
}

}  // namespace verbatim
