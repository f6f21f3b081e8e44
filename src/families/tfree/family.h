#pragma once

#include "model/family.h"

namespace verbatim {
[[nodiscard]] Family tfree_family();
}
