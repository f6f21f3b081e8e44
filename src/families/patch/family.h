#pragma once

#include "model/family.h"

namespace verbatim {
[[nodiscard]] Family patch_family();
}
