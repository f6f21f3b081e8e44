#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace verbatim {

double learning_rate(const OptimSettings& settings, int64_t step, double progress) {
  const double peak = settings.learning_rate;
  progress = std::clamp(progress, 0.0, 1.0);
  double share = 1;
  if (settings.schedule == "cosine") {
    share = settings.minimum_ratio + (1 - settings.minimum_ratio) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
  } else if (settings.schedule == "wsd" && settings.decay_share > 0 && progress > 1 - settings.decay_share) {
    const double down = (progress - (1 - settings.decay_share)) / settings.decay_share;
    share = 1 - (1 - settings.minimum_ratio) * down;
  }
  // The rise multiplies the fall, so that short runs with a long rise stay smooth.
  if (step < settings.warmup) share *= static_cast<double>(step) / static_cast<double>(settings.warmup);
  return peak * share;
}

}  // namespace verbatim
