#pragma once

#include <string>

namespace verbatim {

// "0.1.0"
[[nodiscard]] std::string version();
// The commit it was built from, short, with "+" when the tree had changes; "unknown" outside of git.
[[nodiscard]] std::string commit();
// "GCC 12.2.0"
[[nodiscard]] std::string compiler();

}  // namespace verbatim
