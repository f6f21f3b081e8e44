#pragma once

#include "model/family.h"

namespace verbatim {

[[nodiscard]] Family tokun_family();

}  // namespace verbatim
