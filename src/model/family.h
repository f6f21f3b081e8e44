#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/backbone.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "settings/visitor.h"

namespace verbatim {

struct ModelSettings;

// The three parts of a model, made to fit each other.
struct ModelParts {
  std::shared_ptr<TextEncoder> encoder;
  std::shared_ptr<Backbone> backbone;
  std::shared_ptr<TextDecoder> decoder;
  std::map<std::string, std::string> files;  // what the model folder must hold besides the weights: name to contents
};

// A family of encoders and decoders: what the registry knows of it.
struct Family {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Settings> (*encoder_settings)();
  std::unique_ptr<Settings> (*decoder_settings)();
  // What cuts text into positions, alone: for what needs no weights.
  std::unique_ptr<Segmenter> (*segmenter)(const Settings& encoder, const std::filesystem::path& folder);
  // `folder` is where relative paths in the settings start (the model folder or the working folder).
  ModelParts (*make)(ModelSettings& settings, const std::filesystem::path& folder, at::Generator generator);
};

// The settings of a model: [model], [encoder], [backbone], [decoder]. Which encoder and decoder settings exist depends
// on the family.
struct ModelSettings : Settings {
  std::string family = "patch";
  std::unique_ptr<Settings> encoder;
  BackboneSettings backbone;
  std::unique_ptr<Settings> decoder;

  void visit(SettingsVisitor& visitor) override;
};

// All families, one line each (families/registry.cc).
[[nodiscard]] const std::vector<Family>& all_families();
// Throws InputError with the known names.
[[nodiscard]] const Family& find_family(std::string_view name);

}  // namespace verbatim
