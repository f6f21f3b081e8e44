#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/folder_lock.h"
#include "model/language_model.h"
#include "train/checkpoint.h"
#include "train/environment.h"
#include "train/run_settings.h"
#include "train/step_log.h"

namespace verbatim {

// What happens around the loop. Unset members are skipped.
struct TrainHooks {
  std::function<void(const StepReport&)> on_step;
  // Bits per byte on held-out text; given the model on its device.
  std::function<double(LanguageModel&)> evaluate;
  // A text of the model's own; given a model on the CPU, where streams compute.
  std::function<std::string(LanguageModel&, class Random&)> sample;
  std::function<void(int64_t step, double bits_per_byte)> on_evaluation;
  std::function<void(int64_t step, const std::string& text)> on_sample;
  std::function<void(const std::string& message)> on_message;  // worth a log line
  std::function<void(const std::string& message)> on_warning;
  const std::atomic<bool>* stop = nullptr;  // set to save and leave
};

enum class TrainEnd { kFinished, kInterrupted };

struct TrainResult {
  TrainEnd end = TrainEnd::kFinished;
  int64_t steps = 0;
  double seconds = 0;
  int64_t bytes = 0;
  double average_bits_per_byte = 0;
  double data_wait_share = 0;  // of the training time of this part
};

// Trains a model on a prepared corpus into a run folder, from the latest checkpoint when there is one. A resumed run
// equals an uninterrupted one bit for bit on the CPU (when limited by steps; a limit in seconds depends on the clock).
// Throws InputError for settings or data that do not fit, std::runtime_error when the loss is not finite or explodes:
// the last checkpoint is intact then.
class Trainer {
 public:
  // `settings.model` may be completed (vocabulary files). `data` is what `verbatim prepare` wrote.
  Trainer(std::shared_ptr<RunSettings> settings, std::filesystem::path data, std::filesystem::path run);

  // For --dry-run: the model without training.
  [[nodiscard]] LanguageModel& model() { return *model_; }

  // Creates the run folder and claims it for this object. run() does this itself; for those that write into the folder
  // before. Throws InputError when another training has it.
  void claim_run_folder();

  TrainResult run(const TrainHooks& hooks, const ProgramInfo& program);

 private:
  void write_run_files(const ProgramInfo& program) const;
  [[nodiscard]] std::string model_card(const RunState& state) const;

  std::shared_ptr<RunSettings> settings_;
  std::filesystem::path data_;
  std::filesystem::path run_;
  std::unique_ptr<FolderLock> lock_;
  std::vector<std::string> notes_;  // worth a log line, from before run()
  std::shared_ptr<LanguageModel> model_;
};

// The type of activations and the device that the settings mean on this machine.
[[nodiscard]] at::ScalarType compute_type_of(const std::string& precision, const at::Device& device);
[[nodiscard]] at::Device device_of(const std::string& name);

}  // namespace verbatim
