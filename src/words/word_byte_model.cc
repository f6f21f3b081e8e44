#include "words/word_byte_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "words/dictionary_search.h"
#include "words/word_composer.h"

namespace verbatim {
namespace {

// log(sum(exp(values))).
double log_sum(std::span<const double> values) {
  const double largest = *std::ranges::max_element(values);
  double sum = 0;
  for (const double value : values) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

}  // namespace

WordByteModel::WordByteModel(const TrigramHasher& hasher, const TrigramPrior& prior, const WordByteOptions& options)
    : hasher_(hasher), prior_(prior), options_(options) {
  if (hasher.options().whole_words) throw_input("words that are hashed whole have no distribution over bytes");
  if (!std::isfinite(options.alpha) || !std::isfinite(options.beta)) {
    throw_input("the weights are {} and {}, expected numbers", options.alpha, options.beta);
  }
  if (!(options.escape > 0 && options.escape < 1)) {
    throw_input("the share of the escape is {}, expected more than 0 and less than 1", options.escape);
  }
}

void WordByteModel::set_logits(std::span<const float> logits_V) {
  check_logits(logits_V, hasher_.options().vocabulary);
  logits_.assign(logits_V.begin(), logits_V.end());
  const double mean = std::accumulate(logits_.begin(), logits_.end(), 0.0) / static_cast<double>(logits_.size());
  average_evidence_ = options_.alpha * mean * hasher_.options().ids_per_trigram;
  known_.clear();
}

double WordByteModel::row_evidence(WordContext context, size_t symbol) const {
  double sum = 0;
  for (const int32_t id : row_behind(hasher_, context, symbol)) sum += logits_[static_cast<size_t>(id)];
  return options_.alpha * sum;
}

double WordByteModel::first_byte_evidence(uint8_t byte) const {
  const WordContext context = {' ', byte};
  const std::span<const uint16_t> seconds = prior_.continuations(context);
  if (seconds.empty()) return average_evidence_;
  const Distribution prior = prior_.distribution(context);
  std::vector<double> evidence;
  for (const uint16_t second : seconds) {
    evidence.push_back(options_.beta * std::log(prior[second]) + row_evidence(context, second));
  }
  return log_sum(evidence);
}

WordByteModel::Distribution WordByteModel::distribution_behind(WordContext context) const {
  const bool is_first = context == WordContext();
  Distribution logs = prior_.distribution(context);
  for (size_t symbol = 0; symbol < kWordSymbols; ++symbol) {
    const double evidence = !is_first            ? row_evidence(context, symbol)
                            : symbol == kWordEnd ? average_evidence_
                                                 : first_byte_evidence(static_cast<uint8_t>(symbol));
    logs[symbol] = options_.beta * std::log(logs[symbol]) + evidence;
  }
  const double largest = *std::ranges::max_element(logs);
  Distribution probabilities;
  double total = 0;
  for (size_t symbol = 0; symbol < kWordSymbols; ++symbol) {
    probabilities[symbol] = std::exp(logs[symbol] - largest);
    total += probabilities[symbol];
  }
  for (double& probability : probabilities) {
    probability = (1 - options_.escape) * (probability / total) + options_.escape / kWordSymbols;
  }
  return probabilities;
}

const WordByteModel::Distribution& WordByteModel::next(std::string_view bytes) {
  VERBATIM_ASSERT(!logits_.empty(), "set_logits() comes first");
  const WordContext context = WordContext::behind(bytes);
  const auto found = known_.find(context.number());
  if (found != known_.end()) return found->second;
  return known_.emplace(context.number(), distribution_behind(context)).first->second;
}

double WordByteModel::log_probability(std::string_view word) {
  double sum = 0;
  for (size_t size = 0; size < word.size(); ++size) {
    sum += std::log(next(word.substr(0, size))[static_cast<uint8_t>(word[size])]);
  }
  return sum + std::log(next(word)[kWordEnd]);
}

double WordByteModel::log_probability(std::string_view word, std::span<const float> logits_V) {
  set_logits(logits_V);
  return log_probability(word);
}

}  // namespace verbatim
