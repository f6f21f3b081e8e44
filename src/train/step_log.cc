#include "train/step_log.h"

#include <algorithm>
#include <ctime>
#include <numbers>

#include "base/machine.h"
#include "base/text_format.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

constexpr double kShortest = 1e-9;  // seconds, where one divides by them

fs::path cut_behind(const fs::path& metrics, int64_t step) {
  if (fs::exists(metrics)) truncate_after_step(metrics, step);
  return metrics;
}

}  // namespace

double StepFigures::bits_per_byte() const { return loss / std::numbers::ln2 / std::max(bytes, 1.0); }

StepLog::StepLog(const fs::path& run, int64_t step, const LogSettings& settings, bool is_likelihood,
                 double product_rate)
    : is_likelihood_(is_likelihood),
      product_rate_(product_rate),
      metrics_(cut_behind(run / "metrics.jsonl", step)),
      events_(settings.tensorboard ? std::make_unique<EventWriter>(run / "tb") : nullptr) {}

void StepLog::add(const StepFigures& step) {
  ++window_steps_;
  window_.bytes += step.bytes;
  window_.seconds += step.seconds;
  window_.data_seconds += step.data_seconds;
  window_.innermost_rows += step.innermost_rows;
  window_.flops += step.flops;
}

StepReport StepLog::write(const RunState& state, const StepFigures& newest, double progress) {
  const auto count = static_cast<double>(window_steps_);
  const double seconds = std::max(window_.seconds, kShortest);
  StepReport report{.step = state.step,
                    .loss_per_position = newest.loss / std::max(newest.positions, 1.0),
                    .is_likelihood = is_likelihood_,
                    .bits_per_byte = newest.bits_per_byte(),
                    .average_bits_per_byte = state.average_bits,
                    .gradient_norm = newest.norm,
                    .learning_rate = newest.learning_rate,
                    .bytes_per_second = window_.bytes / seconds,
                    .step_seconds = window_.seconds / count,
                    .data_seconds = window_.data_seconds / count,
                    .flops = window_.flops / seconds,
                    .flops_share = product_rate_ > 0 ? window_.flops / seconds / product_rate_ : 0,
                    .total_bytes = state.bytes,
                    .total_flops = state.flops,
                    .seconds = state.seconds,
                    .progress = progress,
                    .bytes_per_patch = window_.bytes / std::max(window_.innermost_rows, 1.0),
                    .peak_memory_bytes = peak_memory_bytes(),
                    .boundaries = boundaries_.summary(),
                    .boundary_advice = boundaries_.collapses()};
  write_line(report);
  if (events_) write_events(report);
  window_ = {};
  window_steps_ = 0;
  boundaries_ = {};
  return report;
}

void StepLog::write_line(const StepReport& report) {
  std::vector<JsonLineField> line = {{"global_step", report.step}, {"loss/train", report.loss_per_position}};
  if (report.is_likelihood) {
    line.emplace_back("loss/bpb", report.bits_per_byte);
    line.emplace_back("loss/bpb_average", report.average_bits_per_byte);
  }
  line.insert(line.end(), {{"optim/lr", report.learning_rate},
                           {"optim/grad_norm", report.gradient_norm},
                           {"optim/total_bytes", report.total_bytes},
                           {"optim/total_flops", report.total_flops},
                           {"speed/bytes_per_second", report.bytes_per_second},
                           {"speed/step_seconds", report.step_seconds},
                           {"speed/data_seconds", report.data_seconds},
                           {"speed/flops", report.flops},
                           {"memory/peak_bytes", report.peak_memory_bytes},
                           {"chunk/mean_bytes", report.bytes_per_patch},
                           {"train/seconds", report.seconds},
                           {"created_at", format_time_utc(std::time(nullptr))}});
  for (const auto& [name, value] : boundaries_.figures()) line.emplace_back(name, value);
  if (product_rate_ > 0) line.emplace_back("speed/mfu", report.flops_share);
  metrics_.write(line);
}

void StepLog::write_events(const StepReport& report) {
  for (const auto& [name, value] : boundaries_.figures()) events_->scalar(name, report.step, value);
  if (report.is_likelihood) events_->scalar("loss/bpb", report.step, report.bits_per_byte);
  events_->scalar("loss/train", report.step, report.loss_per_position);
  events_->scalar("optim/lr", report.step, report.learning_rate);
  events_->scalar("optim/grad_norm", report.step, report.gradient_norm);
  events_->scalar("speed/bytes_per_second", report.step, report.bytes_per_second);
  if (product_rate_ > 0) events_->scalar("speed/mfu", report.step, report.flops_share);
}

void StepLog::write_evaluation(const RunState& state, double bits_per_byte) {
  metrics_.write({{"global_step", state.step},
                  {"eval/bpb", bits_per_byte},
                  {"train/seconds", state.seconds},
                  {"created_at", format_time_utc(std::time(nullptr))}});
  if (events_) events_->scalar("eval/bpb", state.step, bits_per_byte);
}

void StepLog::write_sample(int64_t step, const std::string& text) {
  if (events_) events_->text("sample", step, text);
}

void StepLog::flush() {
  if (events_) events_->flush();
}

}  // namespace verbatim
