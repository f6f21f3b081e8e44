#include "words/dictionary_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace verbatim {
namespace {

constexpr size_t kBatch = 8;       // vectors that are summed side by side: one cache line of 32 bytes for each entry
constexpr size_t kStretch = 1024;  // words that are summed and then scored, while their sums are in the nearest cache
constexpr float kLargestLogit = 1e30F;  // sums over any number of ids stay finite

bool is_better(const ScoredWord& a, const ScoredWord& b) {
  return a.score != b.score ? a.score > b.score : a.index < b.index;
}

// The n best of the words shown to it, the worst of them on top of a heap.
class BestWords {
 public:
  explicit BestWords(size_t n) : n_(n) { kept_.reserve(n); }

  void add(std::span<const float> scores, std::span<const uint32_t> indexes, size_t first_index) {
    if (n_ == 0) return;
    for (size_t i = 0; i < indexes.size(); ++i) {
      if (scores[i] < least_) continue;
      const ScoredWord word = {first_index + indexes[i], scores[i]};
      if (kept_.size() == n_) {
        if (!is_better(word, kept_.front())) continue;
        std::pop_heap(kept_.begin(), kept_.end(), is_better);
        kept_.pop_back();
      }
      kept_.push_back(word);
      std::push_heap(kept_.begin(), kept_.end(), is_better);
      if (kept_.size() == n_) least_ = kept_.front().score;
    }
  }

  [[nodiscard]] std::vector<ScoredWord> take() {
    std::sort(kept_.begin(), kept_.end(), is_better);
    return std::move(kept_);
  }

 private:
  size_t n_;
  float least_ = -std::numeric_limits<float>::infinity();
  std::vector<ScoredWord> kept_;
};

void check_options(const ScoreOptions& options, size_t words) {
  if (!std::isfinite(options.edge_weight)) throw_input("the edge weight is {}, expected a number", options.edge_weight);
  if (!(options.positive_weight > 0) || !std::isfinite(options.positive_weight)) {
    throw_input("the weight of positives is {}, expected a number above 0", options.positive_weight);
  }
  for (const size_t index : options.black_list) {
    if (index >= words) throw_input("the black list names word {} of {}", index, words);
  }
}

// How often the sum over rows should count an id that it counts inner + edge_weight * edge times, minus that.
float excess_weight(uint16_t inner, uint16_t edge, const ScoreOptions& options) {
  const float counted = static_cast<float>(inner) + options.edge_weight * static_cast<float>(edge);
  const float edge_share = edge > 0 ? options.edge_weight : 0;
  if (options.variant == ScoreVariant::kCurrent) return (inner > 0 ? 1.0F : 0.0F) + edge_share - counted;
  return (edge > 0 ? edge_share : 1.0F) - counted;
}

// A function of its own, so that the compiler rounds the scores of one vector and of a batch alike.
[[gnu::noinline]] void finish_scores(std::span<float> sums, std::span<const float> inverse_ids,
                                     std::span<const float> inverse_other_ids, ScoreVariant variant, float total) {
  if (variant == ScoreVariant::kFirst) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] *= inverse_ids[i];
  } else if (variant == ScoreVariant::kCurrent) {
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] = sums[i] * inverse_ids[i] + (sums[i] - total) * inverse_other_ids[i];
    }
  }
}

}  // namespace

void check_logits(std::span<const float> logits, size_t expected) {
  if (logits.size() != expected) throw_input("{} logits were given, expected {}", logits.size(), expected);
  for (size_t i = 0; i < logits.size(); ++i) {
    // Written so that it holds for what is not a number.
    if (!(std::abs(logits[i]) < kLargestLogit)) {
      throw_input("logit {} is {}: no word can be chosen; the model's weights or its input are damaged", i, logits[i]);
    }
  }
}

void log_softmax(std::span<float> scores) {
  if (scores.empty()) return;
  const double largest = *std::ranges::max_element(scores);
  VERBATIM_ASSERT(std::isfinite(largest), "no score is finite");
  double sum = 0;
  for (const float score : scores) sum += std::exp(score - largest);
  const double log_sum = largest + std::log(sum);
  for (float& score : scores) score = static_cast<float>(score - log_sum);
}

DictionarySearch::DictionarySearch(const Dictionary& dictionary) : parts_{{&dictionary, 0}}, size_(dictionary.size()) {}

DictionarySearch::DictionarySearch(const DictionaryOverlay& overlay)
    : parts_{{&overlay.base(), 0}, {&overlay.more(), overlay.base().size()}}, size_(overlay.size()) {}

// Fills entries_: what the rows and repetitions of one dictionary are worth.
template <size_t kWidth>
void DictionarySearch::sum_entries(const Dictionary& part, const ScoreOptions& options) {
  const size_t rows = part.row_is_edge_.size();
  const size_t used = rows + part.repetitions_.size();
  entries_.resize(std::max(part.row_sums_.padded_size(), used + 1) * kWidth);
  part.row_sums_.sum<kWidth>(values_.data(), 0, part.row_sums_.padded_size(), entries_.data());
  if (options.edge_weight != 1) {
    for (size_t row = 0; row < rows; ++row) {
      if (part.row_is_edge_[row] == 0) continue;
      for (size_t b = 0; b < kWidth; ++b) entries_[row * kWidth + b] *= options.edge_weight;
    }
  }
  for (size_t i = 0; i < part.repetitions_.size(); ++i) {
    const Dictionary::Repetition& repetition = part.repetitions_[i];
    const float weight = excess_weight(repetition.inner, repetition.edge, options);
    const float* value = values_.data() + size_t{repetition.id} * kWidth;
    for (size_t b = 0; b < kWidth; ++b) entries_[(rows + i) * kWidth + b] = weight * value[b];
  }
  std::fill_n(entries_.begin() + static_cast<ptrdiff_t>(used * kWidth), kWidth, 0.0F);
}

template <size_t kWidth>
void DictionarySearch::score_block(std::span<const float> logits_BV, size_t first_row, size_t rows,
                                   const ScoreOptions& options, const Receiver& receive) {
  const size_t vocabulary = parts_[0].dictionary->hasher().options().vocabulary;
  values_.assign((vocabulary + 1) * kWidth, 0);
  float totals[kWidth] = {};
  for (size_t b = 0; b < rows; ++b) {
    const std::span<const float> logits = logits_BV.subspan((first_row + b) * vocabulary, vocabulary);
    if (options.variant == ScoreVariant::kLogLikelihood) {
      const float log_weight = std::log(options.positive_weight);
      for (size_t v = 0; v < vocabulary; ++v) values_[v * kWidth + b] = logits[v] - log_weight;
    } else {
      double total = 0;
      for (size_t v = 0; v < vocabulary; ++v) {
        const float activation = 1 / (1 + std::exp(-logits[v]));
        values_[v * kWidth + b] = activation;
        total += activation;
      }
      totals[b] = static_cast<float>(total);
    }
  }
  for (const Part& part : parts_) {
    const Dictionary& dictionary = *part.dictionary;
    if (dictionary.size() == 0) continue;
    sum_entries<kWidth>(dictionary, options);
    const std::span<const uint32_t> order = dictionary.word_sums_.order();
    for (size_t begin = 0; begin < order.size(); begin += kStretch) {
      const size_t words = std::min(kStretch, order.size() - begin);
      const size_t padded_end = std::min(begin + kStretch, dictionary.word_sums_.padded_size());
      sums_.resize(kStretch * kWidth);
      column_.resize(kStretch);
      dictionary.word_sums_.sum<kWidth>(entries_.data(), begin, padded_end, sums_.data());
      for (size_t b = 0; b < rows; ++b) {
        for (size_t i = 0; i < words; ++i) column_[i] = sums_[i * kWidth + b];
        const std::span<float> scores = std::span(column_).first(words);
        finish_scores(scores, std::span(dictionary.inverse_ids_).subspan(begin),
                      std::span(dictionary.inverse_other_ids_).subspan(begin), options.variant, totals[b]);
        receive(first_row + b, part, order.subspan(begin, words), scores);
      }
    }
  }
}

void DictionarySearch::score(std::span<const float> logits_BV, size_t batch, const ScoreOptions& options,
                             const Receiver& receive) {
  check_options(options, size_);
  check_logits(logits_BV, batch * parts_[0].dictionary->hasher().options().vocabulary);
  size_t row = 0;
  // A few vectors cost less one by one than a block with unused columns.
  for (; batch - row >= kBatch / 2; row += std::min(kBatch, batch - row)) {
    score_block<kBatch>(logits_BV, row, std::min(kBatch, batch - row), options, receive);
  }
  for (; row < batch; ++row) score_block<1>(logits_BV, row, 1, options, receive);
}

void DictionarySearch::score_batch(std::span<const float> logits_BV, size_t batch, const ScoreOptions& options,
                                   std::vector<float>& scores_BK) {
  scores_BK.resize(batch * size_);
  score(logits_BV, batch, options,
        [&](size_t row, const Part& part, std::span<const uint32_t> indexes, std::span<const float> scores) {
          float* target = scores_BK.data() + row * size_ + part.first_index;
          for (size_t i = 0; i < indexes.size(); ++i) target[indexes[i]] = scores[i];
        });
  for (size_t row = 0; row < batch; ++row) {
    for (const size_t index : options.black_list) {
      scores_BK[row * size_ + index] = -std::numeric_limits<float>::infinity();
    }
  }
}

void DictionarySearch::score_all(std::span<const float> logits_V, const ScoreOptions& options,
                                 std::vector<float>& scores_K) {
  score_batch(logits_V, 1, options, scores_K);
}

std::vector<std::vector<ScoredWord>> DictionarySearch::best_batch(std::span<const float> logits_BV, size_t batch,
                                                                  const ScoreOptions& options, size_t n) {
  n = std::min(n, size_);
  // Black-listed words are among the candidates and leave them at the end.
  std::vector<BestWords> best(batch, BestWords(std::min(size_, n + options.black_list.size())));
  score(logits_BV, batch, options,
        [&](size_t row, const Part& part, std::span<const uint32_t> indexes, std::span<const float> scores) {
          best[row].add(scores, indexes, part.first_index);
        });
  std::vector<std::vector<ScoredWord>> results;
  for (BestWords& kept : best) {
    std::vector<ScoredWord>& words = results.emplace_back(kept.take());
    std::erase_if(words, [&](const ScoredWord& word) {
      return std::ranges::find(options.black_list, word.index) != options.black_list.end();
    });
    if (words.size() > n) words.resize(n);
  }
  return results;
}

std::vector<ScoredWord> DictionarySearch::best(std::span<const float> logits_V, const ScoreOptions& options, size_t n) {
  return std::move(best_batch(logits_V, 1, options, n).front());
}

}  // namespace verbatim
