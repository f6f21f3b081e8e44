#pragma once

#include <atomic>
#include <exception>

namespace verbatim {

// Thrown by code that stopped because of interrupted(). The program exits with code 130.
class Interrupted : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

// From now on SIGINT and SIGTERM set a flag; a second signal ends the program at once with code 130.
void install_interruption_handlers();

[[nodiscard]] bool interrupted() noexcept;
// For library code that takes a flag to look at.
[[nodiscard]] const std::atomic<bool>& interruption_flag() noexcept;

inline void throw_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace verbatim
