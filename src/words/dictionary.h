#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "words/trigram_hasher.h"
#include "words/word_splitter.h"

namespace verbatim {

// The words a T-Free model can write: a list that is exchangeable without training (specification, section 8).
// Each word is kept as the distinct rows (trigrams) it consists of, so that a step sums each row's activations once.
class Dictionary {
 public:
  // Words with their counts, in order; duplicates and words that do not split into exactly one word are left out and
  // counted in rejected(). `hasher` must outlive the dictionary.
  Dictionary(std::vector<std::pair<std::string, uint64_t>> words, const TrigramHasher& hasher,
             const WordSplitter& splitter);

  [[nodiscard]] size_t size() const { return words_.size(); }
  [[nodiscard]] std::string_view word(size_t index) const { return words_[index]; }
  [[nodiscard]] uint64_t count(size_t index) const { return counts_[index]; }
  // Index of a word, or -1.
  [[nodiscard]] int64_t find(std::string_view word) const;
  [[nodiscard]] size_t rejected() const { return rejected_; }

  // Text file: one JSON array [word, count] per line (invalid UTF-8 as {"bytes": [...]}). Written to a temporary name
  // and renamed. Throws InputError naming file and line.
  [[nodiscard]] static std::vector<std::pair<std::string, uint64_t>> load_words(const std::filesystem::path& file);
  [[nodiscard]] static std::string serialize(const std::vector<std::pair<std::string, uint64_t>>& words);

 private:
  friend class DictionarySearch;
  std::vector<std::string> words_;
  std::vector<uint64_t> counts_;
  size_t rejected_ = 0;
  // ... rows (distinct), words as lists of rows, the sets inner / edge: see the .cc
};

enum class ScoreVariant {
  kFirst = 1,    // the first release: mean activation over the union of inner and edge ids
  kCurrent = 2,  // the last commit: hits minus what is active outside
  kLogLikelihood =
      3,  // sum of the logits of the word's ids (minus log P each): the Bernoulli likelihood, up to a constant
};

struct ScoreOptions {
  ScoreVariant variant = ScoreVariant::kLogLikelihood;
  float edge_weight = 1;
  float positive_weight = 1;  // P of the training loss, variant 3 only
};

// A word and its score.
struct ScoredWord {
  size_t index = 0;
  float score = 0;
};

// Scores every word of a dictionary against one vector of logits [V]. Scratch memory lives in the object: one per
// thread.
class DictionarySearch {
 public:
  explicit DictionarySearch(const Dictionary& dictionary);
  // [size()] scores of all words.
  void score_all(std::span<const float> logits_V, const ScoreOptions& options, std::vector<float>& scores_K);
  // The same for B vectors in one pass over the rows: [B * size()].
  void score_batch(std::span<const float> logits_BV, size_t batch, const ScoreOptions& options,
                   std::vector<float>& scores_BK);
  // The n best, best first, equal scores by index; exactly those of score_all, without looking at every word where
  // bounds allow.
  [[nodiscard]] std::vector<ScoredWord> best(std::span<const float> logits_V, const ScoreOptions& options, size_t n);
};

}  // namespace verbatim
