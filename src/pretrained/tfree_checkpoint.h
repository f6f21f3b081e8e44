#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/language_model.h"

// Checkpoints of the T-Free reference (specification, section 9):
//   transformer/transformer.pt, transformer/transformer_config.yaml (JSON), tokenizer/tokenizer_config.yaml (JSON),
//   tokenizer/tokenizer.pt (the dictionary; its table of trigrams is never read, it follows from the numbers).
namespace verbatim {

// The two configurations, checked: unknown keys are refused, as the reference does.
struct TfreeCheckpointConfig {
  // transformer_config.yaml
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t sequence_length = 2048;
  double rotary_embedding_base = 10000;
  double mlp_factor = 4;
  double layernorm_epsilon = 1e-5;
  double init_std_global_gain = 1;
  std::string embedding_aggregation = "sum";
  std::string norm = "rms";
  std::string mlp_type = "swiglu";
  std::string init = "pythia";
  std::string precision = "float32";
  bool use_flash = false;
  bool embedding_normalization = false;
  bool bias_terms = false;
  // tokenizer_config.yaml
  int64_t vocab_population = 10;
  int64_t vocab_population_partial_lowercase = 0;
  bool lowercase = false;
  bool entire_words = false;
  int64_t word_edge_weight = 1;
  std::string end_of_text = "<|endoftext|>";

  // Throw InputError that begins with `where`: keys that are missing, unknown or out of range, and a tokenizer that has
  // no counterpart (classic subwords, rows from an orthogonal matrix).
  void parse_transformer(std::string_view json, std::string_view where);
  void parse_tokenizer(std::string_view json, std::string_view where);
  [[nodiscard]] std::string transformer_json() const;
  [[nodiscard]] std::string tokenizer_json() const;
  [[nodiscard]] std::shared_ptr<ModelSettings> settings(const std::string& dictionary) const;
};

struct TfreeImport {
  std::shared_ptr<LanguageModel> model;
  std::string stored_types;
  size_t words = 0;  // in the dictionary
};

// Whether the folder is such a checkpoint, by the files it holds.
[[nodiscard]] bool is_tfree_checkpoint(const std::filesystem::path& source);

// Reads a checkpoint into a model of family `tfree`, mode strict. Queries and keys are put into the order of pairs that
// the backbone turns (halves instead of neighbours), which changes no result. Without tokenizer.pt the dictionary holds
// the special words only; another one can be given with --set decoder.dictionary or `dictionary build`. Throws
// InputError that names the file and what is wrong.
[[nodiscard]] TfreeImport read_tfree(const std::filesystem::path& source);
// read_tfree() into the model folder `out`, which appears complete or not at all.
TfreeImport import_tfree(const std::filesystem::path& source, const std::filesystem::path& out);

// Writes a model of family `tfree` in the same layout. Importing it again gives the same bits; what the reference has
// no place for (the calibration of the likelihood, the rules of the improved mode) is refused or lost, as said.
// Throws InputError for models that do not fit the layout.
void export_tfree(LanguageModel& model, const std::filesystem::path& out);

}  // namespace verbatim
