#pragma once

#include <cstdint>

#include "train/run_settings.h"

namespace verbatim {

// Learning rate of the update with number `step` (from 1), when `progress` in [0, 1] of the run is behind it.
[[nodiscard]] double learning_rate(const OptimSettings& settings, int64_t step, double progress);

}  // namespace verbatim
