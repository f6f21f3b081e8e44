#include "pretrained/llama_export.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "corpus/staging_folder.h"
#include "families/byte/byte_encoder.h"
#include "families/token/token_encoder.h"
#include "model/model_folder.h"
#include "model/softmax_decoder.h"
#include "model/tensor_io.h"
#include "nn/torch.h"
#include "pretrained/llama_config.h"
#include "pretrained/new_folder.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/bpe_trainer.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/tokenizer_json.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kShardBytes = uint64_t{5} << 30;
constexpr int64_t kUnknownPositions = 2048;

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "float32") return at::kFloat;
  if (dtype == "bfloat16") return at::kBFloat16;
  if (dtype == "float16") return at::kHalf;
  throw_input("the type of the weights is \"{}\"; expected float32, bfloat16 or float16", dtype);
}

// The tokenizer under which the model's ids mean the same. Bytes have one too: 256 tokens that nothing merges, and the
// boundary as the symbol behind them.
struct ExportedTokenizer {
  std::string file_name;
  std::string file_bytes;
  int64_t trained_rows = 0;
};

ExportedTokenizer tokenizer_of(LanguageModel& model) {
  ModelSettings& settings = model.settings();
  if (settings.backbone.kind != "transformer") {
    throw_input(
        "the backbone is of kind \"{}\"; only models with a plain transformer can be exported in the Llama format",
        settings.backbone.kind);
  }
  const auto* softmax = dynamic_cast<const SoftmaxSettings*>(settings.decoder.get());
  if (!settings.backbone.stack.is_llama_shaped() || !settings.backbone.closing_norm ||
      (softmax != nullptr && softmax->bias)) {
    throw_input(
        "the layers are not Llama's (rms norm, swiglu, rotary positions over whole heads, no biases, no learned "
        "positions); only those can be exported in the Llama format");
  }
  if (const auto* token = dynamic_cast<TokenEncoderSettings*>(settings.encoder.get())) {
    const Tokenizer& tokenizer = dynamic_cast<const TokenSegmenter&>(model.segmenter()).tokenizer();
    return {tokenizer.file_name(), tokenizer.file_bytes(), token->trained_rows};
  }
  if (const auto* byte = dynamic_cast<ByteEncoderSettings*>(settings.encoder.get())) {
    if (!byte->ngram_sizes.empty()) {
      throw_input("the model adds n-grams to its bytes (encoder.ngram_sizes), which the Llama format has no place for");
    }
    if (byte->table_rows() != 257 || byte->start_id != 256 || byte->end_id != 256) {
      throw_input(
          "the model has {} symbols, starts documents with {} and ends them with {}; only 257 symbols with 256 for "
          "both "
          "can be exported in the Llama format",
          byte->table_rows(), byte->start_id, byte->end_id);
    }
    return {"tokenizer.json", BpeTrainer({.vocabulary_size = byte->table_rows()}).train(), 0};
  }
  throw_input("the family is {}; only token and byte models can be exported in the Llama format", settings.family);
}

LlamaConfig config_of(LanguageModel& model, const LlamaExportOptions& options, int64_t trained_rows) {
  ModelSettings& settings = model.settings();
  const StackSettings& stack = settings.backbone.stack;
  LlamaConfig config;
  config.architecture = stack.window > 0 ? LlamaConfig::Architecture::kMistral : LlamaConfig::Architecture::kLlama;
  config.hidden_size = stack.width;
  config.intermediate_size = stack.hidden;
  config.num_hidden_layers = stack.layers;
  config.num_attention_heads = stack.heads;
  config.num_key_value_heads = stack.key_value_heads;
  config.head_dim = stack.head_width;
  config.vocab_size = model.encoder().table().size(0);
  config.max_position_embeddings = options.positions > 0 ? options.positions
                                   : trained_rows > 0    ? trained_rows
                                                         : kUnknownPositions;
  config.sliding_window = stack.window;
  config.rms_norm_eps = stack.norm_epsilon;
  config.rope_theta = stack.rotary_theta;
  config.tie_word_embeddings = dynamic_cast<const SoftmaxSettings&>(*settings.decoder).tied;
  config.bos_token_id = model.segmenter().start_ids().front();
  config.eos_token_id = model.segmenter().end_id();
  config.torch_dtype = options.dtype;
  return config;
}

void write_weights(LanguageModel& model, const LlamaConfig& config, at::ScalarType type, const fs::path& file) {
  torch::NoGradGuard no_grad;
  TensorBundle bundle;
  for (const auto& parameter : model.named_parameters()) {
    const std::string name = file_tensor_name(model.settings(), parameter.key());
    const at::Tensor value = parameter.value().detach().to(type);
    if (type == at::kHalf && !at::isfinite(value).all().item<bool>()) {
      throw_input("tensor \"{}\" has values that float16 cannot hold; use bfloat16 or float32", name);
    }
    bundle.add(name, value);
  }
  const auto expected = config.tensors();
  VERBATIM_ASSERT(bundle.views().size() == expected.size());
  for (const auto& [name, view] : bundle.views()) {
    const auto found = expected.find(name);
    VERBATIM_ASSERT(found != expected.end() && found->second == view.shape, "{}", name);
  }
  write_safetensors(file, bundle.views(), {}, kShardBytes);
}

// How a control token is written, "" when the tokenizer has no such id.
std::string spelling_of(const ExportedTokenizer& tokenizer, int64_t id) {
  if (tokenizer.file_name.ends_with(".model")) {
    const auto model = SentencepieceModel::parse(tokenizer.file_bytes, tokenizer.file_name);
    return id < static_cast<int64_t>(model.pieces.size()) ? model.pieces[static_cast<size_t>(id)].text : "";
  }
  const auto json = TokenizerJson::parse(tokenizer.file_bytes, tokenizer.file_name);
  for (const TokenizerJson::AddedToken& token : json.added_tokens) {
    if (token.id == id) return token.content;
  }
  return "";
}

std::string tokenizer_config(const ExportedTokenizer& tokenizer, const LlamaConfig& config) {
  const bool sentencepiece = tokenizer.file_name.ends_with(".model");
  Json json;
  json["tokenizer_class"] = sentencepiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast";
  json["model_max_length"] = config.max_position_embeddings;
  json["add_bos_token"] = true;
  json["add_eos_token"] = false;
  json["clean_up_tokenization_spaces"] = false;
  if (sentencepiece) json["legacy"] = false;
  for (const auto& [key, id] :
       {std::pair("bos_token", config.bos_token_id), std::pair("eos_token", config.eos_token_id)}) {
    if (const std::string spelling = spelling_of(tokenizer, id); !spelling.empty()) json[key] = spelling;
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string generation_config(const LlamaConfig& config) {
  const Json json = {
      {"_from_model_config", true}, {"bos_token_id", config.bos_token_id}, {"eos_token_id", config.eos_token_id}};
  return json.dump(2) + "\n";
}

std::string card_of(const LlamaConfig& config, const ExportedTokenizer& tokenizer, const std::string& family,
                    int64_t parameters) {
  return fmt::format(
      "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [verbatim, {}]\n---\n\n# A language model "
      "of the Llama shape\n\nWritten by Verbatim from a model of family `{}`: {}, {} parameters, {} layers of width "
      "{}, "
      "{} symbols, weights as {}, tokenizer in {}.\n\nA document begins with id {} (put it in front of every prompt) "
      "and "
      "ends with id {}.\n",
      family, family, config.architecture_name(), parameters, config.num_hidden_layers, config.hidden_size,
      config.vocab_size, config.torch_dtype, tokenizer.file_name, config.bos_token_id, config.eos_token_id);
}

}  // namespace

LlamaExport export_llama(LanguageModel& model, const fs::path& out, const LlamaExportOptions& options) {
  const at::ScalarType type = scalar_type(options.dtype);
  if (options.positions < 0) throw_input("the number of positions is {}, must be 0 or more", options.positions);
  require_free(out);
  const ExportedTokenizer tokenizer = tokenizer_of(model);
  const LlamaConfig config = config_of(model, options, tokenizer.trained_rows);
  const int64_t parameters = model.parameter_count();
  StagingFolder staging(out);
  const fs::path& folder = staging.path();
  write_weights(model, config, type, folder / "model.safetensors");
  write_file_atomically(folder / tokenizer.file_name, tokenizer.file_bytes);
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config(tokenizer, config));
  write_file_atomically(folder / "generation_config.json", generation_config(config));
  write_file_atomically(folder / "README.md", card_of(config, tokenizer, model.settings().family, parameters));
  write_file_atomically(folder / "config.json", config.to_json());
  staging.publish();
  return {.architecture = config.architecture_name(),
          .tokenizer_file = tokenizer.file_name,
          .parameters = parameters,
          .positions = config.max_position_embeddings};
}

}  // namespace verbatim
