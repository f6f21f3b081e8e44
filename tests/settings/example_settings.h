#pragma once

#include <string>
#include <vector>

#include "settings/settings_tree.h"

namespace verbatim {

// A small program's settings, with members that depend on others.
struct BackboneSettings : Settings {
  std::string kind = "transformer";
  int64_t layers = 4;
  int64_t heads = 8;       // transformer only
  double state_scale = 1;  // mamba only
  bool windowed = false;   // transformer only
  int64_t window = 64;     // windowed only

  void visit(SettingsVisitor& visitor) override {
    visitor.setting("kind", kind, {.help = "what mixes positions", .choices = {"transformer", "mamba"}});
    visitor.setting("layers", layers, {.help = "number of layers", .minimum = 1, .maximum = 1000});
    if (kind == "transformer") {
      visitor.setting("heads", heads, {.help = "attention heads", .minimum = 1});
      visitor.setting("windowed", windowed, {.help = "look back a limited way only"});
      if (windowed) visitor.setting("window", window, {.help = "how far", .unit = "positions", .minimum = 1});
    } else {
      visitor.setting("state_scale", state_scale, {.help = "scale of the state"});
    }
  }
};

struct ExampleOptimSettings : Settings {
  double lr = 3e-4;
  std::vector<double> betas = {0.9, 0.95};

  void visit(SettingsVisitor& visitor) override {
    visitor.setting("lr", lr, {.help = "learning rate", .minimum = 0, .maximum = 10});
    visitor.setting("betas", betas, {.help = "decay of the moments", .minimum = 0, .maximum = 1});
  }
};

struct ExampleSettings : Settings {
  std::string name = "run";
  BackboneSettings backbone;
  ExampleOptimSettings optim;
  int64_t seed = 1;
  int64_t batch_bytes = 65536;
  std::vector<std::string> sources;
  std::vector<int64_t> strides = {4};

  void visit(SettingsVisitor& visitor) override {
    visitor.setting("name", name, {.help = "name of the run"});
    visitor.section("backbone", backbone, "vectors to vectors");
    visitor.section("optim", optim, "");
    visitor.setting("seed", seed, {.help = "of all random numbers"});
    visitor.setting("batch_bytes", batch_bytes, {.help = "text per step", .unit = "bytes", .minimum = 1});
    visitor.setting("sources", sources, {.help = "files"});
    visitor.setting("strides", strides, {.help = "bytes per block", .minimum = 1});
  }
};

// The message of the InputError that `action` throws; "no error" when it throws none.
template <class Action>
std::string input_error(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace verbatim
