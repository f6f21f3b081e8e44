#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/event_writer.h"
#include "formats/json_lines.h"
#include "train/boundary_statistics.h"
#include "train/checkpoint.h"
#include "train/run_settings.h"

namespace verbatim {

// One optimizer step in figures.
struct StepFigures {
  double loss = 0;  // nats, summed over positions
  double positions = 0;
  double bytes = 0;
  double norm = 0;  // of the gradient, before clipping
  double learning_rate = 0;
  double seconds = 0;
  double data_seconds = 0;  // of them spent waiting for data
  double innermost_rows = 0;
  double flops = 0;

  // For decoders with a loss of their own these are not bits of text, but falling and exploding look the same.
  [[nodiscard]] double bits_per_byte() const;
};

// One line of metrics, for whoever watches.
struct StepReport {
  int64_t step = 0;
  double loss_per_position = 0;
  bool is_likelihood = true;         // else the two that follow are only the loss in other units
  double bits_per_byte = 0;          // of this step's text
  double average_bits_per_byte = 0;  // running average
  double gradient_norm = 0;
  double learning_rate = 0;
  double bytes_per_second = 0;  // since the last report
  double step_seconds = 0;      // mean since the last report
  double data_seconds = 0;      // share of it spent waiting for data
  double flops = 0;             // floating point operations per second of matrix products
  double flops_share = 0;       // of the rate that the machine multiplies large matrices at; 0: not measured
  int64_t total_bytes = 0;
  double total_flops = 0;
  double seconds = 0;          // training time of the run so far
  double progress = 0;         // 0 to 1
  double bytes_per_patch = 0;  // text for each row of the innermost backbone
  int64_t peak_memory_bytes = 0;
  std::string boundaries = {};                    // what levels with learned boundaries do, for people; empty without
  std::vector<std::string> boundary_advice = {};  // for levels among them that have stopped to choose
};

// metrics.jsonl and tb/ of a run folder: figures of steps, gathered from one line to the next.
class StepLog {
 public:
  // Goes on behind `step`: later lines of a part that is done again are cut off. `product_rate` is the machine's, in
  // operations per second; 0: not measured.
  StepLog(const std::filesystem::path& run, int64_t step, const LogSettings& settings, bool is_likelihood,
          double product_rate);

  void add(const std::vector<LevelNotes>& levels) { boundaries_.add(levels); }
  void add(const StepFigures& step);
  // A line about everything added since the last one, `newest` being the latest step.
  StepReport write(const RunState& state, const StepFigures& newest, double progress);
  void write_evaluation(const RunState& state, double bits_per_byte);
  void write_sample(int64_t step, const std::string& text);
  // Lines written so far must not be missing when a run resumes from a checkpoint that is saved now.
  void sync() { metrics_.sync(); }
  // Lets those who watch tb/ see what is there.
  void flush();

 private:
  void write_line(const StepReport& report);
  void write_events(const StepReport& report);

  bool is_likelihood_;
  double product_rate_;
  JsonLinesWriter metrics_;
  std::unique_ptr<EventWriter> events_;  // null: switched off
  // Since the last line.
  StepFigures window_;
  int64_t window_steps_ = 0;
  BoundaryStatistics boundaries_;
};

}  // namespace verbatim
