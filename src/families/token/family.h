#pragma once

#include "model/family.h"

namespace verbatim {
[[nodiscard]] Family token_family();
}
