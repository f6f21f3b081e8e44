#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "words/list_sums.h"
#include "words/trigram_hasher.h"
#include "words/word_splitter.h"

namespace verbatim {

// Words with how often they occur, in an order that matters.
using WordCounts = std::vector<std::pair<std::string, uint64_t>>;

// The words a T-Free model can write: a list that is exchangeable without training (specification, section 8).
// Each word is kept as the distinct rows (trigrams) it consists of, so that a step sums each row's activations once.
// Read-only after construction, so one dictionary serves all threads.
class Dictionary {
 public:
  // Words in order. Those that do not split into exactly one word are left out and counted in rejected(); the special
  // words (word_counts.h, and those of the splitter) need not split. Duplicates add their counts to the first one.
  // `hasher` and `splitter` must outlive the dictionary.
  Dictionary(const WordCounts& words, const TrigramHasher& hasher, const WordSplitter& splitter);

  [[nodiscard]] size_t size() const { return counts_.size(); }
  [[nodiscard]] std::string_view word(size_t index) const {
    return std::string_view(text_).substr(text_begins_[index], text_begins_[index + 1] - text_begins_[index]);
  }
  [[nodiscard]] uint64_t count(size_t index) const { return counts_[index]; }
  // [size()] of all words, for instance as a prior.
  [[nodiscard]] std::span<const uint64_t> counts() const { return counts_; }
  // Index of a word, or -1.
  [[nodiscard]] int64_t find(std::string_view word) const;
  [[nodiscard]] size_t rejected() const { return rejected_; }
  // Different trigrams of all words together (words that are hashed whole have one of their own).
  [[nodiscard]] size_t distinct_rows() const { return row_is_edge_.size(); }
  [[nodiscard]] const TrigramHasher& hasher() const { return hasher_; }
  [[nodiscard]] const WordSplitter& splitter() const { return splitter_; }

  // Text file: one JSON array [word, count] per line (invalid UTF-8 as {"bytes": [...]}); empty lines are skipped.
  // Throws InputError naming file and line.
  [[nodiscard]] static WordCounts load_words(const std::filesystem::path& file);
  [[nodiscard]] static std::string serialize(const WordCounts& words);

 private:
  friend class DictionarySearch;

  // An id that a word has more than once: what the sum over its rows counts too often. A word with such ids has this
  // as one more entry behind its rows, with a value that depends on the kind of score.
  struct Repetition {
    uint32_t id = 0;
    uint16_t inner = 0;  // how many times in rows that do not touch a blank
    uint16_t edge = 0;   // and in those that do
    friend bool operator==(const Repetition&, const Repetition&) = default;
  };

  void add_texts(const WordCounts& words);
  void add_rows();
  [[nodiscard]] size_t slot_of(std::string_view word) const;

  const TrigramHasher& hasher_;
  const WordSplitter& splitter_;
  std::string text_;  // all words, back to back
  std::vector<uint64_t> text_begins_ = {0};
  std::vector<uint64_t> counts_;
  std::vector<uint32_t> slots_;  // hash table of word index + 1; 0: free
  size_t rejected_ = 0;

  std::vector<uint8_t> row_is_edge_;      // [R] rows, those of most words first
  std::vector<Repetition> repetitions_;   // [C]
  ListSums row_sums_;                     // [R] lists of ids
  ListSums word_sums_;                    // [size()] lists of entries: rows, R + repetition; R + C stands for nothing
  std::vector<float> inverse_ids_;        // [size()] in the order of word_sums_: 1 / (m * trigrams)
  std::vector<float> inverse_other_ids_;  // and 1 / (V - m * trigrams), or 0 where nothing is left
};

// A dictionary with a few more words for one call (more_words of the specification, section 8.3). The words that the
// dictionary lacks follow its own ones; they are hashed once, here. Cheap for few words, however large the dictionary.
class DictionaryOverlay {
 public:
  // `base` must outlive the overlay. Words are treated as those of a dictionary, with a count of 0.
  DictionaryOverlay(const Dictionary& base, std::span<const std::string_view> more_words);

  [[nodiscard]] size_t size() const { return base_.size() + more_.size(); }
  [[nodiscard]] std::string_view word(size_t index) const {
    return index < base_.size() ? base_.word(index) : more_.word(index - base_.size());
  }
  [[nodiscard]] uint64_t count(size_t index) const {
    return index < base_.size() ? base_.count(index) : more_.count(index - base_.size());
  }
  // Index of a word, or -1.
  [[nodiscard]] int64_t find(std::string_view word) const;
  [[nodiscard]] const Dictionary& base() const { return base_; }
  [[nodiscard]] const Dictionary& more() const { return more_; }

 private:
  const Dictionary& base_;
  Dictionary more_;
};

}  // namespace verbatim
