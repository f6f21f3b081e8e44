#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text_format.h"
#include "cli/terminal.h"

namespace verbatim {
namespace {

constexpr double kSecondsBetweenFrames = 0.1;
// The rate is that of the last seconds: long enough to be calm, short enough to show a change.
constexpr double kRateWindowSeconds = 3.0;

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Progress::Progress(ProgressOptions options)
    : options_(std::move(options)),
      is_terminal_(has_live_terminal()),
      done_(options_.start),
      started_(Clock::now()),
      shown_(started_),
      window_start_(started_),
      window_done_(options_.start) {}

Progress::~Progress() {
  if (!finished_ && is_terminal_) clear_live_line();
}

void Progress::update(int64_t done, std::string_view detail) {
  done_ = done;
  detail_ = detail;
  const Clock::time_point now = Clock::now();
  const double window_seconds = seconds_between(window_start_, now);
  if (window_seconds >= kRateWindowSeconds) {
    rate_ = static_cast<double>(done_ - window_done_) / window_seconds;
    window_start_ = now;
    window_done_ = done_;
  }
  const double wait = is_terminal_ ? kSecondsBetweenFrames : options_.seconds_between_lines;
  if (seconds_between(shown_, now) < wait) return;
  show(now);
}

void Progress::finish(std::string_view detail) {
  if (finished_) return;
  finished_ = true;
  if (options_.count == ProgressCount::kAmount || !detail.empty()) detail_ = detail;
  const Clock::time_point now = Clock::now();
  const double seconds = seconds_between(started_, now);
  rate_ = seconds > 0 ? static_cast<double>(done_ - options_.start) / seconds : 0;
  options_.total = 0;  // neither percentage nor ETA: it is over
  clear_live_line();
  write_error_line(fmt::format("{}, {}", line(now), format_duration(seconds)));
}

std::string Progress::line(Clock::time_point now) const {
  const double seconds = seconds_between(started_, now);
  const double rate = rate_ > 0 || seconds <= 0 ? rate_ : static_cast<double>(done_ - options_.start) / seconds;
  if (options_.count == ProgressCount::kShare) {
    std::string text = fmt::format("{}: {}", options_.label, detail_);
    if (options_.total <= 0) return text;
    text += fmt::format("  {:.0f} %", 100.0 * static_cast<double>(done_) / static_cast<double>(options_.total));
    if (rate > 0 && options_.total > done_) {
      text += "  " + format_duration(static_cast<double>(options_.total - done_) / rate) + " left";
    }
    return text;
  }
  const bool is_bytes = options_.unit == "bytes";
  const auto amount = [&](int64_t count) {
    if (is_bytes) return format_bytes(static_cast<uint64_t>(std::max<int64_t>(count, 0)));
    return fmt::format("{}", count);
  };
  std::string text = options_.label + ": " + amount(done_);
  if (options_.total > 0) {
    text += fmt::format(" of {} ({:.0f} %)", amount(options_.total),
                        100.0 * static_cast<double>(done_) / static_cast<double>(options_.total));
  }
  if (!is_bytes) text += " " + options_.unit;
  if (!detail_.empty()) text += ", " + detail_;

  if (rate > 0) {
    text += ", " + (is_bytes ? format_rate(rate) : fmt::format("{:.3g} {}/s", rate, options_.unit));
    if (options_.total > done_) {
      text += ", " + format_duration(static_cast<double>(options_.total - done_) / rate) + " left";
    }
  }
  return text;
}

void Progress::show(Clock::time_point now) {
  shown_ = now;
  if (is_terminal_) {
    show_live_line(line(now));
  } else {
    write_error_line(line(now));
  }
}

}  // namespace verbatim
