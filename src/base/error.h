#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace verbatim {

// The user's mistake: a bad file, setting, text or flag. The message says where, what was expected, what was found and
// what to do. Programs print it and exit with code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A mistake of ours: an internal promise that did not hold. Programs print it and exit with code 1.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Throws InputError with a formatted message, for instance
//   throw_input("{}: expected 8 bytes, got {}; the file is cut short", path, size);
template <class... Args>
[[noreturn]] void throw_input(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(fmt::format(format, std::forward<Args>(args)...));
}

// Throws std::system_error for `code` (an errno value) about `path`: what failed, on what, and the system's own words.
[[noreturn]] void throw_system(int code, std::string_view action, std::string_view path);

[[noreturn]] void throw_internal(const char* file, int line, const char* condition, const std::string& detail);

}  // namespace verbatim

// Checks an internal promise; throws InternalError with file and line when it does not hold.
#define VERBATIM_ASSERT(condition, ...)                                                          \
  do {                                                                                           \
    if (!(condition)) [[unlikely]]                                                               \
      ::verbatim::throw_internal(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
