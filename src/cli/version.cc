#include "cli/version.h"

#include <fmt/format.h>

#include "commit.inc"

namespace verbatim {

std::string version() { return VERBATIM_VERSION; }

std::string commit() { return VERBATIM_COMMIT; }

std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#else
  return fmt::format("GCC {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

}  // namespace verbatim
