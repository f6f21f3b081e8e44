#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/scratch_folder.h"
#include "corpus/prepare.h"
#include "settings/settings_tree.h"
#include "train/run_settings.h"

// Runs small enough for a test: corpora of a few kB and models of a few thousand parameters.
namespace verbatim::testing {

// Lines of words in several scripts, the same for the same seed; about `bytes` long.
inline std::string sample_text(size_t bytes, uint64_t seed) {
  static const std::vector<std::string> words = {"the ", "river ", "Fluss ", "größer ",  "und ",  "мост ",
                                                 "水 ",  "流れ ",  "runs ",  "slowly, ", "3.14 ", "νερό\n"};
  Random random(seed);
  std::string text;
  while (text.size() < bytes) text += words[random.below(words.size())];
  return text;
}

// A prepared corpus of several documents below `folder`; each text is one document.
inline std::filesystem::path make_corpus(const ScratchFolder& folder, const std::string& name,
                                         const std::vector<std::string>& documents) {
  std::filesystem::create_directories(folder / (name + "-text"));
  for (size_t i = 0; i < documents.size(); ++i) {
    folder.write(name + "-text/" + std::to_string(100 + i) + ".txt", documents[i]);
  }
  PrepareOptions options;
  options.inputs = {(folder / (name + "-text")).string()};
  options.out = folder / name;
  options.valid_fraction = 0;
  prepare_corpus(options);
  return folder / name;
}

inline std::vector<std::string> sample_documents(size_t count, size_t bytes) {
  std::vector<std::string> documents;
  for (size_t i = 0; i < count; ++i) documents.push_back(sample_text(bytes + 37 * i, i));
  return documents;
}

inline const std::string kByteModel = R"(
[model]
family = "byte"
[backbone]
kind = "transformer"
width = 16
layers = 2
heads = 2
)";

inline const std::string kPatchModel = R"(
[model]
family = "patch"
[encoder]
ngram_sizes = [3]
ngram_rows = 64
[backbone]
kind = "level"
boundary = "space"
width = 16
heads = 2
window = 8
[backbone.inner]
kind = "transformer"
width = 24
layers = 1
heads = 2
)";

// With everything that disturbs text and vectors.
inline const std::string kAutoencoder = R"(
[model]
family = "tokun"
[encoder]
chain = "4x4"
latent = 24
width = 16
noise = 0.5
variational = 0.01
[backbone]
kind = "none"
)";
inline const std::vector<std::string> kDisturbances = {"data.random_characters=0.5", "data.random_shift=3",
                                                       "data.noise=0.1", "data.case_change=0.5"};

inline const std::string kTokenModel = R"(
[model]
family = "token"
[encoder]
tokenizer = ")" VERBATIM_TEST_DATA R"(/tokenizers/tiny.tokenizer.json"
[backbone]
kind = "transformer"
width = 16
layers = 1
heads = 2
[decoder]
tied = true
)";

inline const std::string kWordModel = R"(
[model]
family = "tfree"
[encoder]
vocabulary = 256
ids_per_trigram = 4
[backbone]
kind = "transformer"
width = 16
layers = 1
heads = 2
)";

inline constexpr const char* kRun = R"(
[data]
batch_bytes = 256
window_bytes = 64
[optim]
learning_rate = 1e-2
warmup = 3
[train]
steps = 20
precision = "float32"
device = "cpu"
eval_every = 0
sample_every = 0
[checkpoint]
every = 0
[log]
every = 1
measure_seconds = 0
tensorboard = false
)";

// A settings file from a model, the defaults of a test and overrides such as "train.steps=5".
inline std::shared_ptr<RunSettings> make_settings(const std::string& model,
                                                  const std::vector<std::string>& overrides = {}) {
  SettingsTree tree = SettingsTree::from_toml(model + kRun, "test");
  for (const std::string& assignment : overrides) tree.override_with(assignment);
  auto settings = std::make_shared<RunSettings>();
  tree.apply_to(*settings);
  return settings;
}

// Changes one bit in the middle of a file.
inline void damage(const std::filesystem::path& file) {
  std::string bytes = ScratchFolder::read(file);
  bytes.at(bytes.size() / 2) ^= 1;
  std::ofstream(file, std::ios::binary) << bytes;
}

}  // namespace verbatim::testing
