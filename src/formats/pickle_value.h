#pragma once

#include <string_view>

#include "formats/pickle.h"

namespace verbatim::pickle {

// What a value points to, or null when it is something else.
template <class T>
[[nodiscard]] const T* pointer_in(const PickleValue& value) {
  const auto* const found = std::get_if<const T*>(&value);
  return found == nullptr ? nullptr : *found;
}

// Throws InputError, which begins with `name`, for a value that contains itself, lies too deep, or is too large for a
// reader that follows every way (the limits of PickleDocument).
void check_extent(const PickleValue& root, std::string_view name);

}  // namespace verbatim::pickle
