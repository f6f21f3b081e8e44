#pragma once

#include <filesystem>

namespace verbatim {

// Throws InputError when something lies under this name that a new folder would replace.
void require_free(const std::filesystem::path& out);

}  // namespace verbatim
