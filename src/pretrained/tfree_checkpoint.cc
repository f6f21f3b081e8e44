#include "pretrained/tfree_checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "corpus/staging_folder.h"
#include "families/tfree/tfree_decoder.h"
#include "families/tfree/tfree_settings.h"
#include "formats/torch_zip.h"
#include "formats/torch_zip_writer.h"
#include "model/model_folder.h"
#include "model/tensor_io.h"
#include "nn/torch.h"
#include "pretrained/json_members.h"
#include "pretrained/new_folder.h"
#include "pretrained/rotary_pairs.h"
#include "words/word_counts.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMostConfigBytes = 1 << 24;
constexpr const char* kWeights = "transformer/transformer.pt";
constexpr const char* kModelConfig = "transformer/transformer_config.yaml";
constexpr const char* kTokenizerConfig = "tokenizer/tokenizer_config.yaml";
constexpr const char* kTokenizer = "tokenizer/tokenizer.pt";

std::string one_of(const JsonMembers& members, const char* key, const std::string& otherwise,
                   const std::set<std::string>& choices, std::string_view where) {
  std::string word = members.word(key, otherwise);
  if (!choices.contains(word)) {
    throw_input("{}: {} is {}, expected one of {}", where, key, quote_bytes(word), fmt::join(choices, ", "));
  }
  return word;
}

// A parameter's name in the reference, from its name here.
std::string reference_name(std::string name, bool gated) {
  const auto replace = [&](std::string_view from, std::string_view to) {
    if (const size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  };
  if (name == "encoder.table.weight") return "transformer.embeddings.embedding.weight";
  if (name == "decoder.head.weight") return "lm_head.weight";
  if (!name.starts_with("backbone.")) return {};
  replace("backbone.", "transformer.");
  replace("self_attn.q_proj", "attention.query");
  replace("self_attn.k_proj", "attention.key");
  replace("self_attn.v_proj", "attention.value");
  replace("self_attn.o_proj", "attention.dense");
  replace("mlp.gate_proj", "mlp.dense_in");
  replace("mlp.up_proj", gated ? "mlp.swiglu" : "mlp.dense_in");
  replace("mlp.down_proj", "mlp.dense_out");
  return name;
}

// The reference turns neighbours, see rotary_pairs.h.
bool has_pairs(const std::string& name) {
  return name.find("q_proj") != std::string::npos || name.find("k_proj") != std::string::npos;
}

// The dictionary of tokenizer.pt: `words`, with the counts of `word_counter_full`.
WordCounts read_words(const fs::path& file) {
  const TorchZip zip = TorchZip::open(file);
  const auto* const* root = std::get_if<const PickleDictionary*>(&zip.root());
  if (root == nullptr) throw_input("{}: holds {}, expected a dict", file.string(), type_name(zip.root()));
  const PickleValue* words = (*root)->find("words");
  const PickleValue* counter = (*root)->find("word_counter_full");
  const auto* const* counts = counter != nullptr ? std::get_if<const PickleDictionary*>(counter) : nullptr;
  WordCounts result;
  const auto count_of = [&](std::string_view word) -> uint64_t {
    const PickleValue* value = counts != nullptr ? (*counts)->find(word) : nullptr;
    const int64_t* count = value != nullptr ? std::get_if<int64_t>(value) : nullptr;
    return count != nullptr && *count > 0 ? static_cast<uint64_t>(*count) : 0;
  };
  if (words != nullptr && std::holds_alternative<const PickleSequence*>(*words)) {
    for (const PickleValue& item : std::get<const PickleSequence*>(*words)->items) {
      const auto* word = std::get_if<std::string_view>(&item);
      if (word == nullptr) throw_input("{}: words holds {}, expected str", file.string(), type_name(item));
      result.emplace_back(*word, count_of(*word));
    }
    return result;
  }
  if (counts == nullptr) {
    throw_input("{}: has neither the list \"words\" nor the dict \"word_counter_full\"", file.string());
  }
  for (const auto& [key, value] : (*counts)->entries) {
    const auto* word = std::get_if<std::string_view>(&key);
    if (word != nullptr) result.emplace_back(*word, count_of(*word));
  }
  return words_at_load(std::vector<WordCounts>{std::move(result)});
}

WordCounts special_words_only() {
  WordCounts words;
  for (const std::string_view word : special_words()) words.emplace_back(word, 0);
  return words;
}

std::string card_of(const TfreeImport& import, const fs::path& source) {
  const std::string name = fs::weakly_canonical(fs::absolute(source)).filename().string();
  return fmt::format(
      "---\nlibrary_name: verbatim\ntags: [verbatim, tfree]\n---\n\n# {0}\n\nImported from the T-Free checkpoint "
      "\"{0}\" (weights stored as {1}). {2} parameters, {3} words in the dictionary. Licence, training data and "
      "intended "
      "use are those of that checkpoint.\n\n    verbatim generate FOLDER -p \"Once upon a time\"\n",
      name, import.stored_types, import.model->parameter_count(), import.words);
}

}  // namespace

void TfreeCheckpointConfig::parse_transformer(std::string_view json, std::string_view where) {
  const nlohmann::json object = parse_json_object(json, where);
  const JsonMembers members(object, std::string(where));
  members.refuse_unknown({"use_flash", "embedding_normalization", "embedding_aggregation", "norm", "mlp_type", "init",
                          "bias_terms", "vocab_size", "hidden_size", "num_layers", "num_attention_heads",
                          "rotary_embedding_base", "sequence_length", "mlp_factor", "precision", "layernorm_epsilon",
                          "init_std_global_gain"});
  vocab_size = members.integer("vocab_size", 2, 1 << 24);
  hidden_size = members.integer("hidden_size", 2, 65536);
  num_layers = members.integer("num_layers", 0, 1024);
  num_attention_heads = members.integer("num_attention_heads", 1, 4096);
  sequence_length = members.maybe_integer("sequence_length", 1, 1 << 30).value_or(sequence_length);
  rotary_embedding_base = members.number("rotary_embedding_base", rotary_embedding_base, 1, 1e12);
  mlp_factor = members.number("mlp_factor", mlp_factor, 1e-3, 1024);
  layernorm_epsilon = members.number("layernorm_epsilon", layernorm_epsilon, 0, 1);
  init_std_global_gain = members.number("init_std_global_gain", init_std_global_gain, 0, 1e6);
  embedding_aggregation = one_of(members, "embedding_aggregation", embedding_aggregation, {"sum", "mean"}, where);
  norm = one_of(members, "norm", norm, {"rms", "layer"}, where);
  mlp_type = one_of(members, "mlp_type", mlp_type, {"swiglu", "simple_gelu"}, where);
  init = one_of(members, "init", init, {"xavier", "pythia", "normal"}, where);
  precision = one_of(members, "precision", precision, {"float32", "bfloat16", "float16"}, where);
  use_flash = members.boolean("use_flash", use_flash);
  embedding_normalization = members.boolean("embedding_normalization", embedding_normalization);
  bias_terms = members.boolean("bias_terms", bias_terms);
  if (hidden_size % (2 * num_attention_heads) != 0) {
    throw_input("{}: hidden_size is {}, must be a multiple of twice num_attention_heads ({})", where, hidden_size,
                num_attention_heads);
  }
}

void TfreeCheckpointConfig::parse_tokenizer(std::string_view json, std::string_view where) {
  const nlohmann::json object = parse_json_object(json, where);
  const JsonMembers members(object, std::string(where));
  members.refuse_unknown({"lowercase", "vocab_size", "sequence_length", "vocab_population",
                          "vocab_population_partial_lowercase", "do_classic_tokenization", "prefix_path_tokenizer_file",
                          "seed", "initialize", "entire_words", "end_of_text", "word_edge_weight", "cache_dir"});
  if (members.boolean("do_classic_tokenization", false)) {
    throw_input(
        "{}: do_classic_tokenization is true: a baseline with an ordinary tokenizer, not T-Free; such weights "
        "cannot be imported",
        where);
  }
  if (one_of(members, "initialize", "hash", {"hash", "orthogonal"}, where) != "hash") {
    throw_input("{}: initialize is \"orthogonal\"; only hashed trigrams can be imported", where);
  }
  const int64_t vocabulary = members.integer("vocab_size", 2, 1 << 24);
  if (vocab_size != 0 && vocabulary != vocab_size) {
    throw_input("{}: vocab_size is {}, the transformer has {}", where, vocabulary, vocab_size);
  }
  vocab_population = members.integer("vocab_population", 1, 256);
  vocab_population_partial_lowercase =
      members.maybe_integer("vocab_population_partial_lowercase", 0, vocab_population).value_or(0);
  lowercase = members.boolean("lowercase", false);
  entire_words = members.boolean("entire_words", false);
  end_of_text = members.word("end_of_text", end_of_text);
  word_edge_weight = members.maybe_integer("word_edge_weight", 0, 255).value_or(1);
}

namespace {

// Whole numbers as the reference writes them.
Json number_of(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

std::string TfreeCheckpointConfig::transformer_json() const {
  const Json json = {{"use_flash", use_flash},
                     {"embedding_normalization", embedding_normalization},
                     {"embedding_aggregation", embedding_aggregation},
                     {"norm", norm},
                     {"mlp_type", mlp_type},
                     {"init", init},
                     {"bias_terms", bias_terms},
                     {"vocab_size", vocab_size},
                     {"hidden_size", hidden_size},
                     {"num_layers", num_layers},
                     {"num_attention_heads", num_attention_heads},
                     {"rotary_embedding_base", number_of(rotary_embedding_base)},
                     {"sequence_length", sequence_length},
                     {"mlp_factor", mlp_factor},
                     {"precision", precision},
                     {"layernorm_epsilon", layernorm_epsilon},
                     {"init_std_global_gain", init_std_global_gain}};
  return json.dump(4) + "\n";
}

std::string TfreeCheckpointConfig::tokenizer_json() const {
  const Json json = {{"lowercase", lowercase},
                     {"vocab_size", vocab_size},
                     {"sequence_length", sequence_length},
                     {"vocab_population", vocab_population},
                     {"vocab_population_partial_lowercase", vocab_population_partial_lowercase},
                     {"do_classic_tokenization", false},
                     {"prefix_path_tokenizer_file", ""},
                     {"seed", 42},
                     {"initialize", "hash"},
                     {"entire_words", entire_words},
                     {"end_of_text", end_of_text},
                     {"word_edge_weight", word_edge_weight},
                     {"cache_dir", nullptr}};
  return json.dump(4, ' ', true) + "\n";
}

std::shared_ptr<ModelSettings> TfreeCheckpointConfig::settings(const std::string& dictionary) const {
  auto settings = std::make_shared<ModelSettings>();
  settings->family = "tfree";
  auto encoder = std::make_unique<TfreeEncoderSettings>();
  encoder->mode = "strict";
  encoder->vocabulary = vocab_size;
  encoder->ids_per_trigram = vocab_population;
  encoder->shared_ids = vocab_population_partial_lowercase;
  encoder->whole_words = entire_words;
  encoder->lowercase = lowercase;
  encoder->aggregation = embedding_aggregation;
  encoder->normalize = embedding_normalization;
  encoder->init = init;
  encoder->init_gain = init_std_global_gain;
  encoder->trained_words = sequence_length;
  encoder->start_word = "";  // the reference reads nothing before a text
  encoder->end_word = end_of_text;
  settings->encoder = std::move(encoder);
  auto decoder = std::make_unique<TfreeDecoderSettings>();
  decoder->edge_weight = static_cast<double>(word_edge_weight);
  decoder->dictionary = dictionary;
  decoder->variant = "current";
  decoder->calibrate = false;
  settings->decoder = std::move(decoder);
  settings->backbone.kind = "transformer";
  settings->backbone.stack = {.width = hidden_size,
                              .layers = num_layers,
                              .heads = num_attention_heads,
                              .hidden = static_cast<int64_t>(static_cast<double>(hidden_size) * mlp_factor),
                              .rotary_theta = rotary_embedding_base,
                              .norm_epsilon = layernorm_epsilon,
                              .norm = norm,
                              .mlp = mlp_type == "swiglu" ? "swiglu" : "gelu",
                              .bias = bias_terms};
  return settings;
}

bool is_tfree_checkpoint(const fs::path& source) {
  return fs::exists(source / kModelConfig) || fs::exists(source / kWeights);
}

TfreeImport read_tfree(const fs::path& source) {
  for (const char* name : {kWeights, kModelConfig, kTokenizerConfig}) {
    if (!fs::exists(source / name)) throw_input("{}: has no {}; expected a T-Free checkpoint", source.string(), name);
  }
  TfreeCheckpointConfig config;
  config.parse_transformer(read_file(source / kModelConfig, kMostConfigBytes), (source / kModelConfig).string());
  config.parse_tokenizer(read_file(source / kTokenizerConfig, kMostConfigBytes), (source / kTokenizerConfig).string());

  const fs::path weights = source / kWeights;
  const TorchZip zip = TorchZip::open(weights);
  const TorchTensors tensors = zip.tensors();
  // The tensors' sizes are checked against the configuration before anything of that size is allocated.
  const auto table = tensors.views.find("transformer.embeddings.embedding.weight");
  if (table == tensors.views.end() ||
      table->second.shape != std::vector<int64_t>{config.vocab_size, config.hidden_size}) {
    throw_input("{}: has no tensor \"transformer.embeddings.embedding.weight\" of shape [{}, {}], which {} asks for",
                weights.string(), config.vocab_size, config.hidden_size, kModelConfig);
  }

  const WordCounts words = fs::exists(source / kTokenizer) ? read_words(source / kTokenizer) : special_words_only();
  // The model reads its dictionary from a file; it keeps the contents, not the file.
  std::string pattern = (fs::temp_directory_path() / "verbatim-import-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::system_error(errno, std::generic_category(), pattern);
  const fs::path folder = pattern;
  TfreeImport import;
  try {
    write_file_atomically(folder / "dictionary.jsonl", Dictionary::serialize(words));
    import.model = LanguageModel::create(config.settings("dictionary.jsonl"), /*seed=*/0, folder);
  } catch (...) {
    fs::remove_all(folder);
    throw;
  }
  fs::remove_all(folder);
  import.words = dynamic_cast<TfreeDecoder&>(import.model->decoder()).dictionary().size();

  torch::NoGradGuard no_grad;
  std::set<std::string> used, types;
  for (auto& parameter : import.model->named_parameters()) {
    const std::string name = reference_name(parameter.key(), config.mlp_type == "swiglu");
    if (name.empty()) continue;  // the calibration, which the reference does not have
    const auto found = tensors.views.find(name);
    if (found == tensors.views.end()) {
      throw_input("{}: tensor \"{}\" is missing; {} asks for {} layers", weights.string(), name, kModelConfig,
                  config.num_layers);
    }
    at::Tensor value = tensor_from_view(found->second, name);
    if (value.sizes() != parameter.value().sizes()) {
      throw_input("{}: tensor \"{}\" has shape [{}], {} asks for [{}]", weights.string(), name,
                  fmt::join(found->second.shape, ", "), kModelConfig, fmt::join(parameter.value().sizes().vec(), ", "));
    }
    if (has_pairs(parameter.key())) value = neighbours_to_halves(value, config.num_attention_heads);
    parameter.value().copy_(value);
    used.insert(name);
    types.insert(found->second.dtype);
  }
  for (const auto& [name, view] : tensors.views) {
    if (!used.contains(name)) {
      throw_input("{}: tensor \"{}\" has no place in a T-Free model of these settings", weights.string(), name);
    }
  }
  import.stored_types = fmt::format("{}", fmt::join(types, ", "));
  import.model->eval();
  return import;
}

TfreeImport import_tfree(const fs::path& source, const fs::path& out) {
  require_free(out);
  TfreeImport import = read_tfree(source);
  StagingFolder staging(out);
  save_model(*import.model, staging.path(), card_of(import, source));
  staging.publish();
  return import;
}

void export_tfree(LanguageModel& model, const fs::path& out) {
  require_free(out);
  const ModelSettings& settings = model.settings();
  const auto* encoder = dynamic_cast<const TfreeEncoderSettings*>(settings.encoder.get());
  const auto* decoder = dynamic_cast<const TfreeDecoderSettings*>(settings.decoder.get());
  if (encoder == nullptr || decoder == nullptr) {
    throw_input("the family is {}; only tfree models can be exported as T-Free checkpoints", settings.family);
  }
  const StackSettings& stack = settings.backbone.stack;
  if (encoder->mode != "strict") {
    throw_input(
        "the model was trained with encoder.mode = \"{}\", whose words and ids the T-Free format cannot say; "
        "train with encoder.mode = \"strict\" to export",
        encoder->mode);
  }
  if (stack.key_value_heads != stack.heads || stack.head_width * stack.heads != stack.width || stack.window != 0) {
    throw_input("grouped queries, heads of another width and attention windows have no place in the T-Free format");
  }
  if ((stack.norm != "rms" && stack.norm != "layer") || (stack.mlp != "swiglu" && stack.mlp != "gelu") ||
      (stack.mlp_bias && !stack.bias) || stack.query_key_norm || stack.token_shift || stack.positions != 0 ||
      stack.rotary_theta == 0 || !settings.backbone.closing_norm) {
    throw_input(
        "the T-Free format knows the norms rms and layer, the MLPs swiglu and gelu, and rotary positions; settings of "
        "the backbone beyond these have no place in it");
  }
  if (decoder->edge_weight != std::floor(decoder->edge_weight)) {
    throw_input("decoder.edge_weight is {}; the T-Free format has whole numbers only (word_edge_weight)",
                decoder->edge_weight);
  }
  TfreeCheckpointConfig config;
  config.vocab_size = encoder->vocabulary;
  config.hidden_size = stack.width;
  config.num_layers = stack.layers;
  config.num_attention_heads = stack.heads;
  config.rotary_embedding_base = stack.rotary_theta;
  config.mlp_factor = static_cast<double>(stack.hidden) / static_cast<double>(stack.width);
  // The reference rounds the product down.
  while (static_cast<int64_t>(static_cast<double>(stack.width) * config.mlp_factor) < stack.hidden) {
    config.mlp_factor = std::nextafter(config.mlp_factor, 1e9);
  }
  config.layernorm_epsilon = stack.norm_epsilon;
  config.embedding_aggregation = encoder->aggregation;
  config.embedding_normalization = encoder->normalize;
  // Nothing depends on it once there are weights; the reference knows no other name.
  if (encoder->init != "scaled") config.init = encoder->init;
  config.init_std_global_gain = encoder->init_gain;
  if (encoder->trained_words > 0) config.sequence_length = encoder->trained_words;
  config.norm = stack.norm;
  config.mlp_type = stack.mlp == "swiglu" ? "swiglu" : "simple_gelu";
  config.bias_terms = stack.bias;
  config.vocab_population = encoder->ids_per_trigram;
  config.vocab_population_partial_lowercase = encoder->shared_ids;
  config.lowercase = encoder->lowercase;
  config.entire_words = encoder->whole_words;
  config.end_of_text = encoder->end_word;
  config.word_edge_weight = static_cast<int64_t>(decoder->edge_weight);

  torch::NoGradGuard no_grad;
  TensorBundle bundle;
  std::vector<std::string> names;
  for (const auto& parameter : model.named_parameters()) {
    const std::string name = reference_name(parameter.key(), config.mlp_type == "swiglu");
    if (name.empty()) continue;
    at::Tensor value = parameter.value().detach();
    if (has_pairs(parameter.key())) value = halves_to_neighbours(value, stack.heads);
    bundle.add(name, value);
    names.push_back(name);
  }
  std::vector<std::pair<std::string, TorchValue>> weights;
  for (const std::string& name : names) weights.emplace_back(name, bundle.views().at(name));

  const Dictionary& dictionary = dynamic_cast<TfreeDecoder&>(model.decoder()).dictionary();
  std::vector<std::string> words;
  std::vector<std::pair<std::string, int64_t>> counts;
  for (size_t i = 0; i < dictionary.size(); ++i) {
    words.emplace_back(dictionary.word(i));
    counts.emplace_back(words.back(), static_cast<int64_t>(dictionary.count(i)));
  }
  StagingFolder staging(out);
  fs::create_directories(staging.path() / "transformer");
  fs::create_directories(staging.path() / "tokenizer");
  write_torch_zip(staging.path() / kWeights, weights);
  write_file_atomically(staging.path() / kModelConfig, config.transformer_json());
  write_file_atomically(staging.path() / kTokenizerConfig, config.tokenizer_json());
  write_torch_zip(staging.path() / kTokenizer,
                  {{"trigram_to_vocab", std::monostate()}, {"words", words}, {"word_counter_full", counts}});
  staging.publish();
}

}  // namespace verbatim
