#include "base/error.h"

#include <system_error>

namespace verbatim {

void throw_system(int code, std::string_view action, std::string_view path) {
  // what() becomes "cannot rename runs/a/latest: No space left on device".
  throw std::system_error(code, std::generic_category(), fmt::format("cannot {} {}", action, path));
}

void throw_internal(const char* file, int line, const char* condition, const std::string& detail) {
  throw InternalError(fmt::format(
      "{}:{}: the internal promise '{}' does not hold{}{}; please report this with the command that led here", file,
      line, condition, detail.empty() ? "" : ": ", detail));
}

}  // namespace verbatim
