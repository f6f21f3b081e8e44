#pragma once

#include "model/family.h"
#include "model/softmax_decoder.h"

namespace verbatim {

// Byte table, whatever backbone the settings name, softmax over bytes: what `byte` and `patch` share.
[[nodiscard]] ModelParts make_byte_parts(ModelSettings& settings, at::Generator generator);

}  // namespace verbatim
