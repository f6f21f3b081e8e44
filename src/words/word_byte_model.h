#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "words/trigram_hasher.h"
#include "words/trigram_prior.h"

namespace verbatim {

struct WordByteOptions {
  double alpha = 0.25;   // weight of the logits: a trigram's m logits say nearly the same m times; to be fitted
  double beta = 1;       // weight of the prior
  double escape = 1e-4;  // share of the probability that goes to all symbols alike; in (0, 1)
};

// A distribution over all byte strings as words, given a vector of logits: byte by byte,
//   p(symbol | two bytes before) ~ prior(symbol)^beta * exp(alpha * sum of the row of the trigram it completes),
// mixed with the uniform distribution, so that every string and its end have a probability above 0: for coding words
// that no dictionary holds. The first byte completes no trigram; instead of a row it has the (log-)sum over the seconds
// that follow it in the prior's words, or what a trigram of average ids would have.
//
// The same program on the same machine gives the same numbers bit by bit. One object per thread.
class WordByteModel {
 public:
  using Distribution = std::array<double, kWordSymbols>;  // by symbol: bytes, then kWordEnd

  // Both must outlive the model. Throws InputError for options out of range and for a hasher that hashes words whole.
  WordByteModel(const TrigramHasher& hasher, const TrigramPrior& prior, const WordByteOptions& options = {});

  // Begins a step. Throws InputError for logits as DictionarySearch does.
  void set_logits(std::span<const float> logits_V);

  // What follows `bytes`, the beginning of a word; sums to 1 up to rounding, each at least escape / 257. Valid until
  // set_logits(). Computed once a step for each pair of last bytes.
  [[nodiscard]] const Distribution& next(std::string_view bytes);

  // Natural logarithm of the probability of the word with its end.
  [[nodiscard]] double log_probability(std::string_view word);
  // The same as a step of its own.
  [[nodiscard]] double log_probability(std::string_view word, std::span<const float> logits_V);

 private:
  [[nodiscard]] double row_evidence(WordContext context, size_t symbol) const;
  [[nodiscard]] double first_byte_evidence(uint8_t byte) const;
  [[nodiscard]] Distribution distribution_behind(WordContext context) const;

  const TrigramHasher& hasher_;
  const TrigramPrior& prior_;
  WordByteOptions options_;
  std::vector<float> logits_;
  double average_evidence_ = 0;
  std::unordered_map<size_t, Distribution> known_;  // by context
};

}  // namespace verbatim
