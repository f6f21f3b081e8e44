#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace verbatim {

// A model folder: config.json, model.safetensors, and the family's own files. A run folder stands for its latest
// checkpoint, RUN/best for the one with the best held-out bits per byte. Models whose backbone is a transformer carry
// Llama's tensor names.

// The folder that holds config.json: `path` itself, or the checkpoint that a run folder's `latest` names. Throws
// InputError.
[[nodiscard]] std::filesystem::path find_model_folder(const std::filesystem::path& path);
// Whether `path` is RUN/best: a file that stands for a model folder.
[[nodiscard]] bool names_best_checkpoint(const std::filesystem::path& path);

// Throws InputError for anything missing, malformed or not fitting together.
[[nodiscard]] std::shared_ptr<LanguageModel> load_model(const std::filesystem::path& path);
[[nodiscard]] std::shared_ptr<ModelSettings> load_model_settings(const std::filesystem::path& path);

// Copies the weights of a model folder into a model of the same shapes. Throws InputError for those that do not fit.
// Parameters that a setting switches on which is off in the folder's config.json (TextDecoder::switched_on_since) keep
// their values; returns their names.
std::vector<std::string> load_weights(LanguageModel& model, const std::filesystem::path& folder);

// Writes config.json, model.safetensors and the family's files into an existing folder. `card` becomes README.md unless
// empty.
void save_model(LanguageModel& model, const std::filesystem::path& folder, const std::string& card);

// The same model on the CPU, with a copy of the weights: streams (LanguageModel::start, read) compute there only.
// `files` is a folder that holds model.files().
[[nodiscard]] std::shared_ptr<LanguageModel> cpu_copy(LanguageModel& model, const std::filesystem::path& files);

// The name a parameter has in files.
[[nodiscard]] std::string file_tensor_name(const ModelSettings& settings, const std::string& parameter);

}  // namespace verbatim
