#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace verbatim {

void SamplingOptions::validate() const {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    throw_input("temperature is {}, must be 0 (the most likely choice) or more", temperature);
  }
  if (top_k < 0) throw_input("top-k is {}, must be 1 or more, or 0 for all", top_k);
  if (!(top_p > 0 && top_p <= 1)) throw_input("top-p is {}, must be above 0 and at most 1 (all)", top_p);
  if (!(min_p >= 0 && min_p <= 1)) throw_input("min-p is {}, must be between 0 (none) and 1", min_p);
  if (!(repetition_penalty > 0) || !std::isfinite(repetition_penalty)) {
    throw_input("the repetition penalty is {}, must be above 0; 1 turns it off", repetition_penalty);
  }
  if (repetition_window < 0) throw_input("the repetition window is {}, must be 0 or more", repetition_window);
}

void penalise_repetition(std::span<float> scores, std::span<const int64_t> recent, double penalty) {
  if (penalty == 1) return;
  std::vector<int64_t> distinct(recent.begin(), recent.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const auto factor = static_cast<float>(penalty);
  for (const int64_t choice : distinct) {
    if (choice < 0 || choice >= static_cast<int64_t>(scores.size())) continue;
    float& score = scores[choice];
    score = score > 0 ? score / factor : score * factor;
  }
}

std::vector<Candidate> candidates_of(std::span<const float> scores, const SamplingOptions& options) {
  const auto best = std::max_element(scores.begin(), scores.end());
  VERBATIM_ASSERT(best != scores.end() && std::isfinite(*best), "no candidate has a finite score");
  const double top = *best;
  if (options.temperature == 0) return {{.index = best - scores.begin(), .probability = 1}};

  // Probabilities are relative to the most likely candidate until the end, so min_p is a plain threshold.
  std::vector<Candidate> candidates;
  candidates.reserve(scores.size());
  double total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double relative = std::exp(static_cast<double>(scores[i]) - top);
    VERBATIM_ASSERT(!std::isnan(relative), "the score of candidate {} is not a number", i);
    total += relative;
    if (relative > 0) candidates.push_back({.index = static_cast<int64_t>(i), .probability = relative});
  }
  const auto more_likely = [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.index < b.index;
  };
  if (options.top_k > 0 && options.top_k < static_cast<int64_t>(candidates.size())) {
    std::nth_element(candidates.begin(), candidates.begin() + options.top_k, candidates.end(), more_likely);
    candidates.resize(static_cast<size_t>(options.top_k));
    total = std::accumulate(candidates.begin(), candidates.end(), 0.0,
                            [](double sum, const Candidate& c) { return sum + c.probability; });
  }
  if (options.min_p > 0 && options.top_p >= 1) {
    std::erase_if(candidates, [&](const Candidate& c) { return c.probability < options.min_p; });
  }
  std::sort(candidates.begin(), candidates.end(), more_likely);
  if (options.top_p < 1) {
    double reached = 0;
    size_t kept = 0;
    while (kept < candidates.size() && reached < options.top_p * total) reached += candidates[kept++].probability;
    candidates.resize(std::max<size_t>(kept, 1));
  }
  while (candidates.back().probability < options.min_p) candidates.pop_back();

  total = 0;
  for (Candidate& candidate : candidates) {
    candidate.probability = std::pow(candidate.probability, 1 / options.temperature);
    total += candidate.probability;
  }
  for (Candidate& candidate : candidates) candidate.probability /= total;
  return candidates;
}

int64_t draw(std::span<const Candidate> candidates, Random& random) {
  VERBATIM_ASSERT(!candidates.empty());
  double left = random.uniform();
  for (const Candidate& candidate : candidates) {
    left -= candidate.probability;
    if (left < 0) return candidate.index;
  }
  return candidates.back().index;  // rounding: the probabilities summed to a little less than one
}

Sampler::Sampler(const SamplingOptions& options, uint64_t stream)
    : options_(options), random_(mix_seed(options.seed, stream)) {
  options_.validate();
}

int64_t Sampler::choose(std::span<float> scores) {
  penalise_repetition(scores, recent_, options_.repetition_penalty);
  const std::vector<Candidate> candidates = candidates_of(scores, options_);
  const int64_t choice = candidates.size() == 1 ? candidates.front().index : draw(candidates, random_);
  remember(choice);
  return choice;
}

void Sampler::remember(int64_t choice) {
  if (options_.repetition_penalty == 1 || options_.repetition_window == 0) return;
  if (static_cast<int64_t>(recent_.size()) >= options_.repetition_window) recent_.erase(recent_.begin());
  recent_.push_back(choice);
}

}  // namespace verbatim
