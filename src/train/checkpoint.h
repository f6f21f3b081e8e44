#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "corpus/pieces.h"
#include "model/language_model.h"
#include "train/optimizer.h"

namespace verbatim {

// What a run needs besides weights and moments to go on as if it had never stopped.
struct RunState {
  int64_t step = 0;
  SamplerPosition data;
  std::string sample_generator;  // Random::state()
  double seconds = 0;            // training time so far
  int64_t bytes = 0;             // text bytes trained on
  double flops = 0;              // floating point operations of all steps, as BackboneCost counts them
  double average_bits = 0;       // running average of bits per byte
  double best_average_bits = 0;  // its best value
  double best_eval_bits = 0;     // 0: no evaluation yet
  int64_t best_step = 0;         // the saved step with the best evaluation; 0: none
  double best_step_bits = 0;     // that evaluation
  uint64_t data_bytes = 0;       // size of the training text, to notice another corpus
};

// What to tell users of parameters that load_weights() returned.
[[nodiscard]] std::string describe_new_parameters(const std::vector<std::string>& names,
                                                  const std::filesystem::path& source);

// Checkpoints of a run folder: RUN/checkpoints/0000001000/{config.json, model.safetensors, optimizer.safetensors,
// state.json, ...}, RUN/best, and RUN/latest, which is written last. A checkpoint appears under its name only when all
// of it is on disk, so kill -9 at any moment leaves the one before.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path run);

  void save(LanguageModel& model, const Optimizer& optimizer, const RunState& state, const std::string& card);
  // Loads the newest checkpoint whose checksums hold; nothing when there is none. Broken ones are named in `warnings`,
  // and so are parameters that the settings have newly switched on.
  // Throws InputError when there are checkpoints and none can be used.
  [[nodiscard]] std::optional<RunState> load(LanguageModel& model, Optimizer& optimizer,
                                             std::vector<std::string>& warnings) const;
  // Puts checkpoints behind `step` out of the way (NAME.damaged): a run that falls back to `step` will write its own.
  // `latest` then names `step`.
  void set_aside_after(int64_t step) const;
  // Removes old checkpoints: the newest `keep` stay, those at multiples of `keep_every`, and that of `best_step`.
  void prune(int64_t keep, int64_t keep_every, int64_t best_step = 0) const;
  [[nodiscard]] std::filesystem::path folder_of(int64_t step) const;
  // Removes what an interrupted save left.
  void remove_leftovers() const;
  [[nodiscard]] std::vector<int64_t> steps() const;  // ascending

 private:
  std::filesystem::path run_;
};

}  // namespace verbatim
