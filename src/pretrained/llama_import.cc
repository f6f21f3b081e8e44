#include "pretrained/llama_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "corpus/staging_folder.h"
#include "families/token/token_encoder.h"
#include "formats/safetensors.h"
#include "model/model_folder.h"
#include "model/softmax_decoder.h"
#include "model/tensor_io.h"
#include "nn/torch.h"
#include "pretrained/llama_config.h"
#include "pretrained/new_folder.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMostConfigBytes = 1 << 24;

void require_checkpoint(const fs::path& source) {
  if (!fs::exists(source)) throw_input("{}: no such folder; expected a checkpoint to import", source.string());
  if (!fs::is_directory(source)) {
    throw_input("{}: is a file; expected the folder with config.json, model.safetensors and the tokenizer",
                source.string());
  }
  if (!fs::exists(source / "config.json")) {
    throw_input("{}: has no config.json; expected a checkpoint folder as published", source.string());
  }
  if (fs::exists(source / "model.safetensors") || fs::exists(source / "model.safetensors.index.json")) return;
  if (fs::exists(source / "pytorch_model.bin") || fs::exists(source / "pytorch_model.bin.index.json")) {
    throw_input(
        "{}: the weights are a pickle (pytorch_model.bin), which is not read; convert them to "
        "model.safetensors",
        source.string());
  }
  throw_input("{}: has neither model.safetensors nor model.safetensors.index.json", source.string());
}

fs::path find_tokenizer(const fs::path& source) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (fs::is_regular_file(source / name)) return source / name;
  }
  std::vector<fs::path> models;
  for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
    if (entry.path().extension() == ".model" && entry.is_regular_file()) models.push_back(entry.path());
  }
  if (models.empty()) {
    throw_input("{}: has no tokenizer; expected tokenizer.json, tokenizer.model or another SentencePiece *.model",
                source.string());
  }
  if (models.size() > 1) {
    throw_input("{}: has {} files *.model; rename the one to use to tokenizer.model", source.string(), models.size());
  }
  return models.front();
}

bool same_values(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.bytes.size() == b.bytes.size() &&
         std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

// Stored by older writers, computed from the settings by everyone.
bool is_rotary_table(std::string_view name) { return name.ends_with(".self_attn.rotary_emb.inv_freq"); }

// The file holds the tensors that the settings ask for and no others. Returns their types.
std::string check_tensors(const SafetensorsReader& reader, const LlamaConfig& config, const std::string& file) {
  const auto expected = config.tensors();
  std::set<std::string> types;
  for (const auto& [name, shape] : expected) {
    if (!reader.contains(name)) {
      throw_input("{}: tensor \"{}\" is missing; config.json asks for {} layers{}", file, name,
                  config.num_hidden_layers, config.tie_word_embeddings ? "" : " and an output of its own");
    }
    const TensorView& view = reader.tensor(name);
    if (view.shape != shape) {
      throw_input("{}: tensor \"{}\" has shape [{}], config.json asks for [{}]", file, name,
                  fmt::join(view.shape, ", "), fmt::join(shape, ", "));
    }
    if (view.dtype != "F32" && view.dtype != "F16" && view.dtype != "BF16") {
      throw_input("{}: tensor \"{}\" has type {}; only F32, F16 and BF16 can be imported", file, name, view.dtype);
    }
    types.insert(view.dtype);
  }
  for (const auto& [name, view] : reader.tensors()) {
    if (expected.contains(name) || is_rotary_table(name)) continue;
    // Writers that do not know of shared tensors store the tied output once more.
    if (name == "lm_head.weight" && same_values(view, reader.tensor("model.embed_tokens.weight"))) continue;
    throw_input("{}: tensor \"{}\" has no place in a Llama of these settings{}", file, name,
                name == "lm_head.weight" ? " (tie_word_embeddings is true, and it differs from the embeddings)" : "");
  }
  return fmt::format("{}", fmt::join(types, ", "));
}

std::shared_ptr<ModelSettings> settings_for(const LlamaConfig& config, const std::string& tokenizer_file) {
  auto settings = std::make_shared<ModelSettings>();
  settings->family = "token";
  auto encoder = std::make_unique<TokenEncoderSettings>();
  encoder->tokenizer = tokenizer_file;
  encoder->vocabulary = config.vocab_size;
  encoder->begin_id = config.bos_token_id;
  encoder->end_id = config.eos_token_id;
  encoder->trained_rows = config.max_position_embeddings;
  settings->encoder = std::move(encoder);
  auto decoder = std::make_unique<SoftmaxSettings>();
  decoder->tied = config.tie_word_embeddings;
  settings->decoder = std::move(decoder);
  settings->backbone.kind = "transformer";
  settings->backbone.stack = {.width = config.hidden_size,
                              .layers = config.num_hidden_layers,
                              .heads = config.num_attention_heads,
                              .key_value_heads = config.num_key_value_heads,
                              .head_width = config.head_dim,
                              .hidden = config.intermediate_size,
                              .window = config.sliding_window,
                              .rotary_theta = config.rope_theta,
                              .norm_epsilon = config.rms_norm_eps};
  return settings;
}

std::string card_of(const LlamaImport& import, const fs::path& source) {
  const std::string name = fs::weakly_canonical(fs::absolute(source)).filename().string();
  return fmt::format(
      "---\nlibrary_name: verbatim\ntags: [verbatim, token]\n---\n\n# {0}\n\nImported from the checkpoint \"{0}\" "
      "({1}, weights stored as {2}, tokenizer {3}). {4} parameters. Licence, training data and intended use are those "
      "of "
      "that checkpoint.\n\n    verbatim generate FOLDER -p \"Once upon a time\"\n    verbatim eval FOLDER --data "
      "letter.txt\n",
      name, import.architecture, import.stored_types, import.tokenizer_file, import.model->parameter_count());
}

}  // namespace

LlamaImport read_llama(const fs::path& source, const LlamaImportOptions& options) {
  require_checkpoint(source);
  const fs::path config_file = source / "config.json";
  LlamaConfig config = LlamaConfig::parse(read_file(config_file, kMostConfigBytes), config_file.string());
  if (options.end_id >= config.vocab_size) {
    throw_input("the id for the end of documents is {}, must be less than {}, the vocab_size of {}", options.end_id,
                config.vocab_size, config_file.string());
  }
  if (options.end_id >= 0) config.eos_token_id = options.end_id;
  const fs::path weights_file = source / "model.safetensors";
  const SafetensorsReader reader = SafetensorsReader::open(weights_file);
  LlamaImport import;
  import.architecture = config.architecture_name();
  import.stored_types = check_tensors(reader, config, weights_file.string());

  const fs::path tokenizer = fs::absolute(find_tokenizer(source));
  import.tokenizer_file = tokenizer.filename().string();
  const int64_t tokens = Tokenizer::open(tokenizer)->vocabulary_size();
  if (tokens > config.vocab_size) {
    throw_input("{}: has {} tokens, {} has vocab_size {}; the tokenizer does not belong to these weights",
                tokenizer.string(), tokens, config_file.string(), config.vocab_size);
  }
  import.model = LanguageModel::create(settings_for(config, tokenizer.string()), /*seed=*/0, source);
  torch::NoGradGuard no_grad;
  for (auto& parameter : import.model->named_parameters()) {
    const std::string name = file_tensor_name(import.model->settings(), parameter.key());
    parameter.value().copy_(tensor_from_view(reader.tensor(name), name));
  }
  import.model->eval();
  return import;
}

LlamaImport import_llama(const fs::path& source, const fs::path& out, const LlamaImportOptions& options) {
  require_free(out);
  LlamaImport import = read_llama(source, options);
  StagingFolder staging(out);
  save_model(*import.model, staging.path(), card_of(import, source));
  staging.publish();
  return import;
}

}  // namespace verbatim
