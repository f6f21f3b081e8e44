#pragma once

#include <cstddef>
#include <span>

namespace verbatim {

// The number of rows in rows_ND, which have `width` values each. Throws InputError for a value that is not finite.
[[nodiscard]] size_t count_rows(std::span<const float> rows_ND, size_t width);

}  // namespace verbatim
