#pragma once

#include <cstdint>
#include <string>

#include "model/family.h"
#include "settings/visitor.h"

namespace verbatim {

struct DataSettings : Settings {
  int64_t batch_bytes = 16384;
  int64_t window_bytes = 1024;
  int64_t threads = 1;
  int64_t ahead = 8;
  // autoencoders
  double random_characters = 0;
  int64_t random_shift = 0;
  double noise = 0;
  double case_change = 0;
  void visit(SettingsVisitor& visitor) override;
};

struct OptimSettings : Settings {
  double learning_rate = 2e-3;
  int64_t warmup = 100;
  std::string schedule = "cosine";
  double decay_share = 0.2;
  double minimum_ratio = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;
  int64_t accumulation = 1;
  void visit(SettingsVisitor& visitor) override;
};

struct TrainSettings : Settings {
  int64_t steps = 0;
  double max_seconds = 0;
  double max_flops = 0;
  std::string from;
  int64_t seed = 1;
  std::string precision = "auto";
  std::string device = "auto";
  bool checkpoint_gradients = false;
  int64_t eval_every = 500;
  int64_t eval_bytes = 65536;
  int64_t sample_every = 1000;
  std::string sample_prompt;
  int64_t sample_bytes = 256;
  double explosion_factor = 3;
  void visit(SettingsVisitor& visitor) override;
};

struct CheckpointSettings : Settings {
  int64_t every = 1000;
  int64_t keep = 2;
  int64_t keep_every = 0;
  void visit(SettingsVisitor& visitor) override;
};

struct LogSettings : Settings {
  int64_t every = 10;
  double measure_seconds = 0.3;
  bool tensorboard = true;
  void visit(SettingsVisitor& visitor) override;
};

// Everything that a training run is made from: one TOML file, one saved config.toml.
struct RunSettings : Settings {
  std::shared_ptr<ModelSettings> model = std::make_shared<ModelSettings>();
  DataSettings data;
  OptimSettings optim;
  TrainSettings train;
  CheckpointSettings checkpoint;
  LogSettings log;

  void visit(SettingsVisitor& visitor) override;
  // Checks what single bounds cannot. Throws InputError.
  void validate() const;
};

}  // namespace verbatim
