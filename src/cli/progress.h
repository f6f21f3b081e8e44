#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace verbatim {

// What a progress line says of how far it is.
enum class ProgressCount {
  kAmount,  // "12 of 25 (48 %) steps, WORDS, 3.1 steps/s, 4 s left"
  kShare,   // "WORDS  48 %  4 s left": for what counts by itself in the words, or is measured in seconds
};

struct ProgressOptions {
  std::string label;                   // "prepare", "train"
  std::string unit = "bytes";          // what is counted; "bytes" are shown as kB, MB, GB
  int64_t total = 0;                   // 0 when unknown: no percentage and no ETA
  int64_t start = 0;                   // already done before (a resumed run); rates leave it out
  double seconds_between_lines = 5.0;  // without a terminal
  ProgressCount count = ProgressCount::kAmount;
};

// Progress on stderr: one live line on a terminal (at most ten times a second), a plain line every few seconds
// otherwise. Shows done, total, rate, ETA and what update() says besides. Log lines from spdlog do not tear the live
// line. NO_COLOR and TERM=dumb are honoured. Not for several threads at once.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // removes the live line

  // `done` counts from the beginning (with `start`); `detail` is a few words such as "bits per byte 1.93". Cheap when
  // nothing is to be shown yet.
  void update(int64_t done, std::string_view detail = {});
  void set_total(int64_t total) { options_.total = total; }
  // Shows the last state for good (a plain line) and ends.
  void finish(std::string_view detail = {});

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] std::string line(Clock::time_point now) const;
  void show(Clock::time_point now);

  ProgressOptions options_;
  bool is_terminal_;
  bool finished_ = false;
  int64_t done_;
  std::string detail_;
  Clock::time_point started_;
  Clock::time_point shown_;
  Clock::time_point window_start_;  // rate over the last seconds, not since the beginning
  int64_t window_done_;
  double rate_ = 0;
};

}  // namespace verbatim
