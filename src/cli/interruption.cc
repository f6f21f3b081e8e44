#include "cli/interruption.h"

#include <unistd.h>
#include <csignal>

namespace verbatim {
namespace {

std::atomic<bool> is_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

void on_signal(int) {
  if (is_interrupted.exchange(true)) _exit(130);
}

}  // namespace

void install_interruption_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a command that waits for its input returns from read() and sees the flag.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept { return is_interrupted.load(std::memory_order_relaxed); }

const std::atomic<bool>& interruption_flag() noexcept { return is_interrupted; }

}  // namespace verbatim
