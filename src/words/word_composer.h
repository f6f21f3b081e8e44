#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "words/dictionary.h"
#include "words/trigram_hasher.h"
#include "words/trigram_prior.h"
#include "words/word_splitter.h"

namespace verbatim {

struct ComposeOptions {
  size_t beam = 64;           // beginnings of words that are kept for each length
  size_t longest = 32;        // bytes of a word
  size_t results = 8;         // words to return at most
  float positive_weight = 1;  // P of the training loss, above 0
  double prior_weight = 0;    // the logarithm of the prior, times this, is added when words are ranked
  bool seen_only = true;      // with a prior: only trigrams that words of its dictionary have
  // Words must reach this much (score + prior_weight * log_prior), for instance the score of the best dictionary word:
  // the nearer to what there is to find, the sooner the search ends.
  double least = -std::numeric_limits<double>::infinity();
  const Dictionary* exclude = nullptr;  // words it holds are not returned
};

struct ComposedWord {
  std::string word;
  float score = 0;       // sum of (logit - log P) over its set of ids: comparable with ScoreVariant::kLogLikelihood
  double log_prior = 0;  // natural logarithm; 0 without a prior
};

// Words that stand in no dictionary, found by a beam search over bytes (T-Free specification, section 13): a state is
// the beginning of a word, one more byte adds the sum of one trigram's row, a trigram that was there before adds
// nothing. Only well-formed UTF-8, and only words that the splitter leaves whole. Read-only: one object serves all
// threads.
//
// The search is greedy within its width, so a word with a weak trigram can be missed. It ends early when no beginning
// can still beat the words found. Beginnings are ranked with ASCII case folding only; the scores of the words returned
// are exact.
class WordComposer {
 public:
  // `prior` may be null; all must outlive the composer. Throws InputError for a hasher that hashes words whole.
  WordComposer(const TrigramHasher& hasher, const WordSplitter& splitter, const TrigramPrior* prior = nullptr);

  // Best first: by score + prior_weight * log_prior, of equal ones the shortest, then in the order of their bytes.
  // Throws InputError for logits as DictionarySearch does.
  [[nodiscard]] std::vector<ComposedWord> compose(std::span<const float> logits_V, const ComposeOptions& options) const;

 private:
  struct Search;

  const TrigramHasher& hasher_;
  const WordSplitter& splitter_;
  const TrigramPrior* prior_;
};

// The row of the trigram that `symbol` completes behind the context; kWordEnd is the blank that closes the word. Case
// folding is that of ASCII: exact for words whose other characters have no upper case.
[[nodiscard]] std::span<const int32_t> row_behind(const TrigramHasher& hasher, WordContext context, size_t symbol);

}  // namespace verbatim
