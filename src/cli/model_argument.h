#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "model/language_model.h"

namespace verbatim {

// What MODEL or CONFIG on a command line stands for.
struct ModelArgument {
  std::shared_ptr<LanguageModel> model;
  bool has_weights = false;                // false: made from a CONFIG.toml, its weights are drawn at random
  std::optional<int64_t> training_window;  // data.window_bytes of the run that it comes from
  std::optional<int64_t> training_batch;   // data.batch_bytes
  std::filesystem::path folder;            // where the weights are
};

// A model folder or run folder. Throws InputError.
[[nodiscard]] ModelArgument open_model(const std::filesystem::path& path);
// The same, or a settings file (*.toml); `overrides` ("section.key=value") apply to the latter only.
[[nodiscard]] ModelArgument open_model_or_config(const std::filesystem::path& path,
                                                 const std::vector<std::string>& overrides = {});
// The same to look at only: what a settings file describes has shapes but no weights, whatever its size.
[[nodiscard]] ModelArgument open_model_or_shapes(const std::filesystem::path& path,
                                                 const std::vector<std::string>& overrides);

// What cuts text into positions, without weights.
struct SegmenterArgument {
  std::unique_ptr<Segmenter> segmenter;
  std::string family;
};
// A model folder, run folder, settings file (*.toml) or tokenizer file (*.json, *.model). Throws InputError.
[[nodiscard]] SegmenterArgument open_segmenter(const std::filesystem::path& path);

// Where a text model computes when nothing else is known.
inline constexpr int64_t kDefaultWindow = 1024;

// "cpu", "cuda" or "auto" (cuda where there is one). Throws InputError when there is no such device here. Moves the
// model.
void move_to_device(LanguageModel& model, const std::string& device);

}  // namespace verbatim
