#pragma once

#include "model/family.h"

namespace verbatim {
[[nodiscard]] Family byte_family();
}
