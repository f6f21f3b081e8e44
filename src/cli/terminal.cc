#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

namespace verbatim {
namespace {

struct LiveLine {
  std::mutex mutex;
  std::string text;  // empty: none is shown
};

LiveLine& live_line() {
  static LiveLine line;
  return line;
}

void write_all(std::string_view bytes) {
  // stderr that refuses bytes has nobody who could be told.
  (void)!std::fwrite(bytes.data(), 1, bytes.size(), stderr);
  std::fflush(stderr);
}

// ESC[K clears to the end of the line.
constexpr std::string_view kClear = "\r\033[K";

}  // namespace

bool has_live_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

bool wants_colors() {
  const char* no_color = std::getenv("NO_COLOR");
  return has_live_terminal() && (no_color == nullptr || *no_color == '\0');
}

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void show_live_line(std::string_view line) {
  LiveLine& live = live_line();
  const std::lock_guard lock(live.mutex);
  live.text = line.substr(0, static_cast<size_t>(terminal_columns()) - 1);
  write_all(std::string(kClear) + live.text);
}

void clear_live_line() {
  LiveLine& live = live_line();
  const std::lock_guard lock(live.mutex);
  if (!live.text.empty()) write_all(kClear);
  live.text.clear();
}

void write_error_line(std::string_view line) {
  LiveLine& live = live_line();
  const std::lock_guard lock(live.mutex);
  std::string bytes;
  if (!live.text.empty()) bytes = kClear;
  bytes += line;
  if (!line.ends_with('\n')) bytes += '\n';
  write_all(bytes + live.text);
}

}  // namespace verbatim
