#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "generate/generate_options.h"
#include "model/decoder.h"

namespace verbatim {

struct Candidate {
  int64_t index = 0;
  double probability = 0;
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

// Lowers the scores of recent choices (Keskar et al. 2019, arXiv 1909.05858, section 4.1): positive scores are divided
// by the penalty, negative ones multiplied with it. A choice that occurs twice counts once.
void penalise_repetition(std::span<float> scores, std::span<const int64_t> recent, double penalty);

// What may be chosen, most likely first (of equals the lowest index first), with probabilities that sum to one. Scores
// of minus infinity are never candidates. At temperature 0 exactly one candidate. Throws InternalError when no score is
// finite.
[[nodiscard]] std::vector<Candidate> candidates_of(std::span<const float> scores, const SamplingOptions& options);

// Picks by probability; candidates must not be empty.
[[nodiscard]] int64_t draw(std::span<const Candidate> candidates, Random& random);

// The rules above with their random numbers and recent choices. A value: copying forks it.
class Sampler final : public Chooser {
 public:
  // `stream` makes independent samplers from one seed. Throws InputError.
  explicit Sampler(const SamplingOptions& options, uint64_t stream = 0);

  [[nodiscard]] int64_t choose(std::span<float> scores) override;
  // Counts as a choice that was made, for instance a position of the prompt.
  void remember(int64_t choice);

 private:
  SamplingOptions options_;
  Random random_;
  std::vector<int64_t> recent_;  // oldest first
};

}  // namespace verbatim
