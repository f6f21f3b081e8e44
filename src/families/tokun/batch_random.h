#pragma once

#include <ATen/core/Generator.h>

#include "model/positions.h"

namespace verbatim {

// What is drawn for a batch in training.
enum class DrawnFor : uint64_t { kNoise, kHidden, kSeparation };

// Told by the text of the batch: a run that is resumed draws the same.
[[nodiscard]] at::Generator generator_of(const PositionBatch& batch, DrawnFor use);

}  // namespace verbatim
