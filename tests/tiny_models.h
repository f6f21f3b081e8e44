#pragma once

#include <memory>
#include <string>

#include "model/language_model.h"
#include "settings/settings_tree.h"

// Models small enough to be built in a test, from the settings that users write.
namespace verbatim::testing {

// `toml` in the form of a settings file; `folder` is where a tokenizer lies.
inline std::shared_ptr<LanguageModel> make_model(const std::string& toml, uint64_t seed = 1,
                                                 const std::string& folder = ".") {
  auto settings = std::make_shared<ModelSettings>();
  SettingsTree::from_toml(toml, "test").apply_to(*settings);
  std::shared_ptr<LanguageModel> model = LanguageModel::create(settings, seed, folder);
  model->eval();
  return model;
}

inline constexpr const char* kTinyByte = R"(
[model]
family = "byte"
[backbone]
kind = "transformer"
width = 16
layers = 2
heads = 2
key_value_heads = 1
)";

inline constexpr const char* kTinyPatch = R"(
[model]
family = "patch"
[backbone]
kind = "level"
width = 16
heads = 2
boundary = "space"
window = 8
[backbone.inner]
kind = "transformer"
width = 24
layers = 1
heads = 2
)";

}  // namespace verbatim::testing
