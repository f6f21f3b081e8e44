#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "nn/kernels/vector_math.h"

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

namespace {

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.index < b.index;
}

// e^(score - top) of all scores, and their sum.
std::vector<float> relative_weights(std::span<const float> scores, float top, double& total) {
  std::vector<float> weights(scores.size());
  total = 0;
  for (size_t i = 0; i < scores.size(); i += nn::kLanes) {
    const auto lanes = static_cast<int64_t>(std::min<size_t>(nn::kLanes, scores.size() - i));
    const nn::F32x16 relative = nn::exp(nn::load_part(scores.data() + i, lanes) - top);
    nn::store_part(weights.data() + i, relative, lanes);
    for (int64_t lane = 0; lane < lanes; ++lane) total += static_cast<double>(weights[i + static_cast<size_t>(lane)]);
  }
  for (size_t i = 0; i < scores.size() && std::isnan(total); ++i) {
    VERBATIM_ASSERT(!std::isnan(scores[i]), "the score of candidate {} is not a number", i);
  }
  return weights;
}

// What may be chosen with its probabilities, in the order of the indexes unless a filter has sorted it.
std::vector<Candidate> kept_candidates(std::span<const float> scores, const SamplingOptions& options) {
  const auto best = std::max_element(scores.begin(), scores.end());
  VERBATIM_ASSERT(best != scores.end() && std::isfinite(*best), "no candidate has a finite score");
  if (options.temperature == 0) return {{.index = best - scores.begin(), .probability = 1}};

  // Probabilities are relative to the most likely candidate until the end, so min_p is a plain threshold.
  double total = 0;
  const std::vector<float> weights = relative_weights(scores, *best, total);
  double least = options.min_p;
  const bool cuts_k = options.top_k > 0 && options.top_k < static_cast<int64_t>(scores.size());
  if (cuts_k) {
    // Candidates below the k-th weight are out; equal ones are told apart below.
    std::vector<float> ordered = weights;
    std::nth_element(ordered.begin(), ordered.begin() + (options.top_k - 1), ordered.end(), std::greater<>());
    least = static_cast<double>(ordered[static_cast<size_t>(options.top_k - 1)]);
  } else if (options.top_p < 1) {
    // All candidates below this together are less than what top_p leaves away.
    least = std::max(least, (1 - options.top_p) * total / static_cast<double>(scores.size()));
  }
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double weight = static_cast<double>(weights[i]);
    if (weight > 0 && weight >= least) candidates.push_back({.index = static_cast<int64_t>(i), .probability = weight});
  }
  if (cuts_k || options.top_p < 1) std::sort(candidates.begin(), candidates.end(), more_likely);
  if (cuts_k && options.top_k < static_cast<int64_t>(candidates.size())) {
    candidates.resize(static_cast<size_t>(options.top_k));
  }
  if (options.top_p < 1) {
    if (cuts_k) {
      total = std::accumulate(candidates.begin(), candidates.end(), 0.0,
                              [](double sum, const Candidate& c) { return sum + c.probability; });
    }
    double reached = 0;
    size_t kept = 0;
    while (kept < candidates.size() && reached < options.top_p * total) reached += candidates[kept++].probability;
    candidates.resize(std::max<size_t>(kept, 1));
  }
  if (options.min_p > 0) {
    std::erase_if(candidates, [&](const Candidate& c) { return c.probability < options.min_p; });
  }

  total = 0;
  for (Candidate& candidate : candidates) {
    if (options.temperature != 1) candidate.probability = std::pow(candidate.probability, 1 / options.temperature);
    total += candidate.probability;
  }
  for (Candidate& candidate : candidates) candidate.probability /= total;
  return candidates;
}

}  // namespace

std::vector<Candidate> candidates_of(std::span<const float> scores, const SamplingOptions& options) {
  std::vector<Candidate> candidates = kept_candidates(scores, options);
  std::sort(candidates.begin(), candidates.end(), more_likely);
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
  // Any fixed order will do to draw from; a vocabulary is not sorted for each word.
  const std::vector<Candidate> candidates = kept_candidates(scores, options_);
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
