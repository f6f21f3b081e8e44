#include "model/model_folder.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "model/tensor_io.h"
#include "nn/torch.h"
#include "settings/settings_tree.h"

namespace verbatim {

namespace fs = std::filesystem;

bool names_best_checkpoint(const fs::path& path) { return path.filename() == "best"; }

fs::path find_model_folder(const fs::path& path) {
  if (fs::is_directory(path) && fs::exists(path / "config.json")) return path;
  // RUN/best names a checkpoint as RUN/latest does, which RUN stands for.
  const fs::path pointer = names_best_checkpoint(path) ? path : path / "latest";
  if (fs::is_regular_file(pointer)) {
    std::string name = read_file(pointer, 4096);
    while (!name.empty() && (name.back() == '\n' || name.back() == ' ')) name.pop_back();
    fs::path checkpoint = pointer.parent_path() / "checkpoints" / fs::path(name).filename();
    if (fs::exists(checkpoint / "config.json")) return checkpoint;
    throw_input("{}: names checkpoint \"{}\", but {} has no config.json", pointer.string(), name, checkpoint.string());
  }
  if (!fs::exists(path)) throw_input("{}: no such folder; expected a model folder or a run folder", path.string());
  throw_input("{}: neither a model folder (no config.json) nor a run folder with a checkpoint (no file \"latest\")",
              path.string());
}

std::shared_ptr<ModelSettings> load_model_settings(const fs::path& path) {
  const fs::path folder = find_model_folder(path);
  const fs::path file = folder / "config.json";
  const std::string text = read_file(file, 1 << 24);
  auto settings = std::make_shared<ModelSettings>();
  // Published configurations hold values that no settings file has (null); they are told by their own keys.
  const bool published = text.find("\"architectures\"") != std::string::npos;
  const SettingsTree tree = published ? SettingsTree() : SettingsTree::from_json(text, file.string());
  if (!tree.contains("model.family")) {
    throw_input(
        "{}: not a Verbatim model (no model.family); a Hugging Face folder comes in with `verbatim import {} --out "
        "DIR`",
        file.string(), folder.string());
  }
  tree.apply_to(*settings);
  return settings;
}

std::shared_ptr<LanguageModel> load_model(const fs::path& path) {
  const fs::path folder = find_model_folder(path);
  auto settings = load_model_settings(folder);
  auto model = LanguageModel::create(settings, /*seed=*/0, folder);
  (void)load_weights(*model, folder);
  model->eval();
  return model;
}

std::vector<std::string> load_weights(LanguageModel& model, const fs::path& folder) {
  fs::path weights = folder / "model.safetensors";
  if (!fs::exists(weights)) weights = folder / "model.safetensors.index.json";
  const SafetensorsReader reader = SafetensorsReader::open(weights);
  const auto name_in_file = [&](const std::string& name) { return file_tensor_name(model.settings(), name); };
  const auto parameters = model.named_parameters();
  const bool is_complete = std::all_of(parameters.begin(), parameters.end(), [&](const auto& parameter) {
    return reader.contains(name_in_file(parameter.key()));
  });
  std::set<std::string> may_be_missing;
  if (!is_complete) {
    for (const std::string& name : model.decoder().switched_on_since(*load_model_settings(folder)->decoder)) {
      may_be_missing.insert("decoder." + name);
    }
  }
  return load_parameters(model, reader, weights.string(), name_in_file, may_be_missing);
}

std::shared_ptr<LanguageModel> cpu_copy(LanguageModel& model, const fs::path& files) {
  auto settings = std::make_shared<ModelSettings>();
  SettingsTree::from_json(to_json(model.settings()), "settings of the model").apply_to(*settings);
  std::shared_ptr<LanguageModel> copy = LanguageModel::create(settings, /*seed=*/0, files);
  torch::NoGradGuard no_grad;
  auto weights = copy->named_parameters();
  for (const auto& parameter : model.named_parameters()) weights[parameter.key()].copy_(parameter.value());
  copy->eval();
  return copy;
}

std::string file_tensor_name(const ModelSettings& settings, const std::string& parameter) {
  if (settings.backbone.kind != "transformer") return parameter;
  if (parameter == "encoder.table.weight") return "model.embed_tokens.weight";
  if (parameter == "decoder.head.weight") return "lm_head.weight";
  if (parameter.starts_with("backbone.")) return "model." + parameter.substr(9);
  return parameter;
}

void save_model(LanguageModel& model, const fs::path& folder, const std::string& card) {
  constexpr uint64_t kShardBytes = uint64_t{5} << 30;
  TensorBundle bundle;
  for (const auto& parameter : model.named_parameters()) {
    bundle.add(file_tensor_name(model.settings(), parameter.key()), parameter.value());
  }
  write_safetensors(folder / "model.safetensors", bundle.views(), {}, kShardBytes);
  for (const auto& [name, contents] : model.files()) write_file_atomically(folder / name, contents);
  if (!card.empty()) write_file_atomically(folder / "README.md", card);
  write_file_atomically(folder / "config.json", to_json(model.settings()) + "\n");
}

}  // namespace verbatim
