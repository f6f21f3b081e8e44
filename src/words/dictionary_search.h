#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "words/dictionary.h"

namespace verbatim {

// The numbers are those of the T-Free specification, section 8.2. a = sigmoid(logits), m ids for each trigram.
enum class ScoreVariant {
  // The first release: mean activation over the union of inner and edge ids.
  kFirst = 1,
  // The last commit: hits, minus what is active outside (0 for a word that leaves nothing outside).
  kCurrent = 2,
  // Sum of (logit - log P) over the word's ids: the logarithm of the Bernoulli likelihood up to a constant that all
  // words share (section 13). Its softmax over words is a probability, so this is the one for sampling.
  kLogLikelihood = 3,
};

struct ScoreOptions {
  ScoreVariant variant = ScoreVariant::kLogLikelihood;
  // Weight of the ids of trigrams that begin or end with a blank. An id that is in such a trigram and in another one
  // counts twice in kCurrent (1 + edge_weight) and once, with edge_weight, in the others.
  float edge_weight = 1;
  float positive_weight = 1;                // P of the training loss, above 0; kLogLikelihood only
  std::span<const size_t> black_list = {};  // indexes of words that get the score minus infinity
};

// A word and its score.
struct ScoredWord {
  size_t index = 0;
  float score = 0;
  friend bool operator==(const ScoredWord&, const ScoredWord&) = default;
};

// Scores the words of a dictionary against vectors of logits. Scratch memory lives in the object: one per thread.
// The results equal the definition over sets of ids up to rounding; words with the same set of trigrams have exactly
// equal scores, and all functions here give exactly the same score for the same word and vector.
//
// All functions throw InputError for logits that are not numbers or not below 1e30 in size, for a number of logits that
// is not batch * V, for options out of range and for black-listed indexes that do not exist.
class DictionarySearch {
 public:
  // The dictionary must outlive the search.
  explicit DictionarySearch(const Dictionary& dictionary);
  explicit DictionarySearch(const DictionaryOverlay& overlay);

  // Number of words.
  [[nodiscard]] size_t size() const { return size_; }

  // [size()] scores of all words.
  void score_all(std::span<const float> logits_V, const ScoreOptions& options, std::vector<float>& scores_K);
  // The same for `batch` vectors in one pass over the words: [batch * size()].
  void score_batch(std::span<const float> logits_BV, size_t batch, const ScoreOptions& options,
                   std::vector<float>& scores_BK);

  // The n best, best first, of equal scores the lowest index first; fewer when there are not so many words.
  // Black-listed words are never among them.
  [[nodiscard]] std::vector<ScoredWord> best(std::span<const float> logits_V, const ScoreOptions& options, size_t n);
  // The same for `batch` vectors.
  [[nodiscard]] std::vector<std::vector<ScoredWord>> best_batch(std::span<const float> logits_BV, size_t batch,
                                                                const ScoreOptions& options, size_t n);

 private:
  struct Part {
    const Dictionary* dictionary;
    size_t first_index;  // of its words in the results
  };
  // Receives the scores of some words of one part for one vector: `indexes` are those of the words in the part.
  using Receiver = std::function<void(size_t row, const Part& part, std::span<const uint32_t> indexes,
                                      std::span<const float> scores)>;

  void score(std::span<const float> logits_BV, size_t batch, const ScoreOptions& options, const Receiver& receive);
  template <size_t kBatch>
  void score_block(std::span<const float> logits_BV, size_t first_row, size_t rows, const ScoreOptions& options,
                   const Receiver& receive);
  template <size_t kBatch>
  void sum_entries(const Dictionary& part, const ScoreOptions& options);

  std::vector<Part> parts_;
  size_t size_ = 0;
  std::vector<float> values_;   // [V + 1, batch] what is summed: activations or logits; the last row is 0
  std::vector<float> entries_;  // [R + C + 1, batch] sums of rows, and of repetitions; the last row is 0
  std::vector<float> sums_;     // [some words, batch]
  std::vector<float> column_;   // [some words] one column of it
};

// Turns scores into the logarithms of their softmax (natural logarithm). At least one score must be finite; the others
// may be minus infinity.
void log_softmax(std::span<float> scores);

// Throws InputError unless there are exactly `expected` logits, all of them numbers below 1e30 in size.
void check_logits(std::span<const float> logits, size_t expected);

}  // namespace verbatim
