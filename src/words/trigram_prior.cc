#include "words/trigram_prior.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace verbatim {

TrigramPrior::TrigramPrior(const Dictionary& dictionary, const TrigramPriorOptions& options) {
  // [context of two bytes, symbol], dense: 135 MB of doubles would be too many, so only what occurs.
  std::vector<std::pair<uint64_t, double>> seen;
  for (size_t i = 0; i < dictionary.size(); ++i) {
    const std::string_view word = dictionary.word(i);
    if (word.find("<|") != std::string_view::npos) continue;
    const double weight = std::pow(std::max<double>(1, static_cast<double>(dictionary.count(i))), options.count_power);
    for (size_t size = 0; size <= word.size(); ++size) {
      const size_t symbol = size == word.size() ? kWordEnd : static_cast<uint8_t>(word[size]);
      seen.emplace_back(WordContext::behind(word.substr(0, size)).number() * kWordSymbols + symbol, weight);
    }
  }
  // Stable, so that the sums do not depend on the library's way of sorting.
  std::ranges::stable_sort(seen, {}, &std::pair<uint64_t, double>::first);

  for (size_t bytes = 0; bytes < levels_.size(); ++bytes) {
    Level& level = levels_[bytes];
    const size_t contexts = size_t{1} << (8 * bytes);
    std::map<uint64_t, double> weights;  // by context * kWordSymbols + symbol
    for (const auto& [key, weight] : seen) {
      const uint64_t context = key / kWordSymbols % contexts;
      weights[context * kWordSymbols + key % kWordSymbols] += weight;
    }
    level.begins.assign(contexts + 1, 0);
    for (const auto& [key, weight] : weights) {
      ++level.begins[key / kWordSymbols + 1];
      level.symbols.push_back(static_cast<uint16_t>(key % kWordSymbols));
      level.weights.push_back(weight);
    }
    std::partial_sum(level.begins.begin(), level.begins.end(), level.begins.begin());
  }
}

std::span<const uint16_t> TrigramPrior::continuations(WordContext context) const {
  const Level& level = levels_[2];
  const uint32_t begin = level.begins[context.number()];
  return std::span(level.symbols).subspan(begin, level.begins[context.number() + 1] - begin);
}

// Mixes what was seen at one level with `probabilities` of the shorter contexts, in place.
void TrigramPrior::smooth(const Level& level, size_t context, std::array<double, kWordSymbols>& probabilities) {
  const uint32_t begin = level.begins[context];
  const uint32_t end = level.begins[context + 1];
  if (begin == end) return;
  double total = 0;
  for (uint32_t i = begin; i < end; ++i) total += level.weights[i];
  const double unseen = end - begin;  // as many new events are expected as there were different ones
  for (double& probability : probabilities) probability *= unseen / (total + unseen);
  for (uint32_t i = begin; i < end; ++i) probabilities[level.symbols[i]] += level.weights[i] / (total + unseen);
}

std::array<double, kWordSymbols> TrigramPrior::distribution(WordContext context) const {
  std::array<double, kWordSymbols> probabilities;
  probabilities.fill(1.0 / kWordSymbols);
  smooth(levels_[0], 0, probabilities);
  smooth(levels_[1], context.second, probabilities);
  smooth(levels_[2], context.number(), probabilities);
  return probabilities;
}

}  // namespace verbatim
