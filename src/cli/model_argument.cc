#include "cli/model_argument.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/model_folder.h"
#include "model/weights.h"
#include "nn/torch.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "settings/settings_tree.h"
#include "train/run_settings.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

// The settings of the run that a model folder lies in: RUN itself, or RUN/checkpoints/STEP.
fs::path find_run_settings(const fs::path& path, const fs::path& model_folder) {
  for (const fs::path& folder : {path, model_folder, fs::absolute(model_folder).parent_path().parent_path()}) {
    if (fs::is_regular_file(folder / "config.toml")) return folder / "config.toml";
  }
  return {};
}

}  // namespace

ModelArgument open_model(const fs::path& path) {
  if (fs::is_regular_file(path) && !names_best_checkpoint(path)) {
    throw_input("{}: is a file; expected a model folder or a run folder", path.string());
  }
  ModelArgument argument;
  argument.folder = find_model_folder(path);
  argument.model = load_model(argument.folder);
  argument.model->eval();
  argument.has_weights = true;
  if (const fs::path file = find_run_settings(path, argument.folder); !file.empty()) {
    RunSettings run;
    SettingsTree::from_toml_file(file).apply_to(run);
    argument.training_window = run.data.window_bytes;
    argument.training_batch = run.data.batch_bytes;
  }
  return argument;
}

ModelArgument open_model_or_config(const fs::path& path, const std::vector<std::string>& overrides) {
  if (path.extension() != ".toml") {
    if (!overrides.empty()) {
      throw_input("{}: settings such as {} can be given with a CONFIG.toml only; a model keeps its own", path.string(),
                  overrides.front());
    }
    return open_model(path);
  }
  SettingsTree tree = SettingsTree::from_toml_file(path);
  for (const std::string& assignment : overrides) tree.override_with(assignment);
  RunSettings run;
  tree.apply_to(run);
  ModelArgument argument;
  argument.folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  argument.model = LanguageModel::create(run.model, static_cast<uint64_t>(run.train.seed), argument.folder);
  argument.model->eval();
  argument.training_window = run.data.window_bytes;
  argument.training_batch = run.data.batch_bytes;
  return argument;
}

ModelArgument open_model_or_shapes(const fs::path& path, const std::vector<std::string>& overrides) {
  if (path.extension() == ".json") {
    const ShapesOnly shapes_only;
    ModelArgument argument;
    argument.model = LanguageModel::create(hierarchy_settings(path), /*seed=*/0, ".");
    return argument;
  }
  if (path.extension() != ".toml") return open_model_or_config(path, overrides);
  const ShapesOnly shapes_only;
  return open_model_or_config(path, overrides);
}

SegmenterArgument open_segmenter(const fs::path& path) {
  const std::string extension = path.extension().string();
  fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::shared_ptr<ModelSettings> settings;
  if (extension == ".model" || extension == ".json") {
    settings = std::make_shared<ModelSettings>();
    const std::string text = fmt::format("[model]\nfamily = \"token\"\n[encoder]\ntokenizer = {}\n",
                                         nlohmann::json(path.filename().string()).dump());
    SettingsTree::from_toml(text, path.string()).apply_to(*settings);
  } else if (extension == ".toml") {
    RunSettings run;
    SettingsTree::from_toml_file(path).apply_to(run);
    settings = run.model;
  } else {
    folder = find_model_folder(path);
    settings = load_model_settings(folder);
  }
  return {.segmenter = find_family(settings->family).segmenter(*settings->encoder, folder), .family = settings->family};
}

void move_to_device(LanguageModel& model, const std::string& device) {
  const bool has_cuda = torch::cuda::is_available();
  if (device == "cuda" && !has_cuda) {
    throw_input("--device cuda: this machine or this LibTorch has no CUDA device; use --device cpu");
  }
  if (device == "cuda" || (device == "auto" && has_cuda)) model.to(at::Device(at::kCUDA));
}

}  // namespace verbatim
