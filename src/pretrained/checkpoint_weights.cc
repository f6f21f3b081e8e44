#include "pretrained/checkpoint_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <vector>

#include "base/error.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

fs::path find_file(const fs::path& source) {
  if (!fs::exists(source)) throw_input("{}: no such file or folder; expected a checkpoint", source.string());
  if (!fs::is_directory(source)) return source;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(source / name)) return source / "model.safetensors";
  }
  if (fs::exists(source / "pytorch_model.bin")) return source / "pytorch_model.bin";
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
    if (entry.path().extension() == ".pt" && entry.is_regular_file()) found.push_back(entry.path());
  }
  if (found.empty()) {
    throw_input("{}: has no weights; expected model.safetensors, pytorch_model.bin or a file *.pt", source.string());
  }
  if (found.size() > 1) {
    throw_input("{}: has {} files *.pt; keep the one to import, or name it instead of the folder", source.string(),
                found.size());
  }
  return found.front();
}

// For messages: its type, of an object that is not read the name of its class.
std::string what_is_saved(const PickleValue& root) {
  if (const auto* const* name = std::get_if<const PickleName*>(&root)) {
    return fmt::format("{}{}", (*name)->is_object ? "an object of " : "", (*name)->name);
  }
  return std::string(type_name(root));
}

}  // namespace

CheckpointWeights CheckpointWeights::open(const fs::path& source) {
  CheckpointWeights weights;
  const fs::path file = find_file(source);
  weights.file_ = file.string();
  if (file.extension() == ".safetensors") {
    weights.safetensors_ = SafetensorsReader::open(file);
    return weights;
  }
  weights.zip_ = std::make_unique<TorchZip>(TorchZip::open(file, {.keep_unknown_names = true}));
  std::string member;
  if (const auto* const* root = std::get_if<const PickleDictionary*>(&weights.zip_->root())) {
    for (const char* name : {"model", "state_dict"}) {
      const PickleValue* inside = (*root)->find(name);
      if (inside != nullptr && std::holds_alternative<const PickleDictionary*>(*inside)) member = name;
    }
  }
  weights.from_zip_ = weights.zip_->tensors(member);
  if (weights.from_zip_.views.empty()) {
    throw_input("{}: holds {} without any tensor; expected the weights of a model, tensors by name (a state dict)",
                file.string(), what_is_saved(weights.zip_->root()));
  }
  return weights;
}

const std::map<std::string, TensorView>& CheckpointWeights::tensors() const {
  return safetensors_.has_value() ? safetensors_->tensors() : from_zip_.views;
}

std::string CheckpointWeights::stored_types() const {
  std::set<std::string> types;
  for (const auto& [name, view] : tensors()) types.insert(view.dtype);
  return fmt::format("{}", fmt::join(types, ", "));
}

}  // namespace verbatim
