#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "words/dictionary.h"

namespace verbatim {

// The words of a dictionary as vectors: a word's row is the sum of the head's rows of all its ids, each once. Scores of
// all words, the sums of the logits of their ids, are then one matrix product for any number of positions, and have a
// gradient. (One position at a time, DictionarySearch is faster: it never forms this matrix.)
class WordMatrix {
 public:
  explicit WordMatrix(const Dictionary& dictionary);

  // [K, D] from the head [V, D]. Trigrams are summed first, so that a word is the sum of some eight rows.
  [[nodiscard]] at::Tensor of(const at::Tensor& head_VD) const;
  // [K] ids of each word, float32.
  [[nodiscard]] const at::Tensor& id_counts() const { return id_counts_K_; }
  // [K] logarithm of each word's share of the counted text, smoothed: words that were not counted have a share, too.
  [[nodiscard]] const at::Tensor& log_prior() const { return log_prior_K_; }
  // The same for a word that was counted once.
  [[nodiscard]] float log_prior_of_one() const { return log_prior_of_one_; }

 private:
  at::Tensor row_ids_, row_offsets_;            // ids of each trigram
  at::Tensor word_rows_, word_offsets_;         // trigrams of each word
  at::Tensor repeated_ids_, repeated_offsets_;  // ids that a word's trigrams hold once too often
  at::Tensor id_counts_K_, log_prior_K_;
  float log_prior_of_one_ = 0;
};

}  // namespace verbatim
