#include "pretrained/llama_config.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/text_format.h"
#include "pretrained/json_members.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

// The bounds of the backbone's settings.
constexpr int64_t kMostWidth = 65536;
constexpr int64_t kMostHidden = 1 << 20;
constexpr int64_t kMostLayers = 1024;
constexpr int64_t kMostHeads = 4096;
constexpr int64_t kMostSymbols = 1 << 24;
constexpr int64_t kMostRows = 1 << 30;

LlamaConfig::Architecture architecture_of(const Json& config, const JsonMembers& members, std::string_view where) {
  std::string name;
  if (const Json* list = members.find("architectures")) {
    if (!list->is_array() || list->size() != 1 || !list->front().is_string()) {
      throw_input("{}: architectures is {}, expected a list with one name", where, JsonMembers::shown(*list));
    }
    name = list->front().get<std::string>();
  } else {
    const std::string type = members.word("model_type", "");
    name = type == "llama" ? "LlamaForCausalLM" : type == "mistral" ? "MistralForCausalLM" : "model_type " + type;
    if (type.empty()) {
      if (config.contains("model")) throw_input("{}: a Verbatim model already; nothing to import", where);
      throw_input("{}: has neither architectures nor model_type; expected LlamaForCausalLM", where);
    }
  }
  if (name == "LlamaForCausalLM") return LlamaConfig::Architecture::kLlama;
  if (name == "MistralForCausalLM") return LlamaConfig::Architecture::kMistral;
  throw_input("{}: the architecture is {}; only LlamaForCausalLM and MistralForCausalLM can be imported", where,
              quote_bytes(name));
}

// Settings that would change the numbers and have no counterpart here.
void refuse_unsupported(const JsonMembers& members, std::string_view where) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (members.boolean(key, false)) {
      throw_input("{}: {} is true; linear layers here have no biases, such checkpoints cannot be imported", where, key);
    }
  }
  if (const std::string activation = members.word("hidden_act", "silu"); activation != "silu") {
    throw_input("{}: hidden_act is {}; only silu can be imported", where, quote_bytes(activation));
  }
  if (const Json* scaling = members.find("rope_scaling")) {
    throw_input("{}: rope_scaling is {}; only null (plain rotary positions) can be imported", where,
                JsonMembers::shown(*scaling));
  }
  if (const Json* quantization = members.find("quantization_config")) {
    throw_input("{}: quantization_config is {}; only plain F32, F16 and BF16 weights can be imported", where,
                JsonMembers::shown(*quantization));
  }
  if (members.number("partial_rotary_factor", 1, 0, 1) != 1) {
    throw_input("{}: partial_rotary_factor is not 1; only whole heads that rotate can be imported", where);
  }
}

double rope_theta_of(const JsonMembers& members, std::string_view where) {
  constexpr double kLeast = 1, kMost = 1e15;
  const double theta = members.number("rope_theta", 10000, kLeast, kMost);
  // The spelling of newer writers.
  const Json* parameters = members.find("rope_parameters");
  if (parameters == nullptr) return theta;
  if (!parameters->is_object()) {
    throw_input("{}: rope_parameters is {}, expected an object", where, JsonMembers::shown(*parameters));
  }
  const JsonMembers inner(*parameters, fmt::format("{}: rope_parameters", where));
  if (const std::string type = inner.word("rope_type", "default"); type != "default") {
    throw_input("{}: rope_parameters.rope_type is {}; only default (plain rotary positions) can be imported", where,
                quote_bytes(type));
  }
  return inner.number("rope_theta", theta, kLeast, kMost);
}

}  // namespace

LlamaConfig LlamaConfig::parse(std::string_view json, std::string_view where) {
  const Json object = parse_json_object(json, where);
  const JsonMembers members(object, std::string(where));
  LlamaConfig config;
  config.architecture = architecture_of(object, members, where);
  refuse_unsupported(members, where);
  config.hidden_size = members.integer("hidden_size", 2, kMostWidth);
  config.intermediate_size = members.integer("intermediate_size", 1, kMostHidden);
  config.num_hidden_layers = members.integer("num_hidden_layers", 1, kMostLayers);
  config.num_attention_heads = members.integer("num_attention_heads", 1, kMostHeads);
  config.num_key_value_heads =
      members.maybe_integer("num_key_value_heads", 1, kMostHeads).value_or(config.num_attention_heads);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    throw_input("{}: num_attention_heads is {}, must be a multiple of num_key_value_heads ({})", where,
                config.num_attention_heads, config.num_key_value_heads);
  }
  const std::optional<int64_t> head_dim = members.maybe_integer("head_dim", 2, kMostHeads);
  if (!head_dim.has_value() && config.hidden_size % config.num_attention_heads != 0) {
    throw_input("{}: hidden_size is {}, must be a multiple of num_attention_heads ({}) where head_dim is not given",
                where, config.hidden_size, config.num_attention_heads);
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_attention_heads);
  if (config.head_dim % 2 != 0) {
    throw_input("{}: the width of a head is {}, must be even (rotary positions turn pairs)", where, config.head_dim);
  }
  config.vocab_size = members.integer("vocab_size", 1, kMostSymbols);
  config.max_position_embeddings = members.maybe_integer("max_position_embeddings", 1, kMostRows).value_or(2048);
  if (config.architecture == Architecture::kMistral) {
    // null sees all rows; where the key is absent, its readers take this.
    constexpr int64_t kAbsentWindow = 4096;
    config.sliding_window = object.contains("sliding_window")
                                ? members.maybe_integer("sliding_window", 1, kMostRows).value_or(0)
                                : kAbsentWindow;
  }
  config.rms_norm_eps = members.number("rms_norm_eps", 1e-6, 0, 1);
  config.rope_theta = rope_theta_of(members, where);
  config.tie_word_embeddings = members.boolean("tie_word_embeddings", false);
  config.bos_token_id = members.id("bos_token_id", config.vocab_size);
  config.eos_token_id = members.id("eos_token_id", config.vocab_size);
  config.torch_dtype = members.word("torch_dtype", members.word("dtype", "float32"));
  return config;
}

std::string LlamaConfig::architecture_name() const {
  return architecture == Architecture::kMistral ? "MistralForCausalLM" : "LlamaForCausalLM";
}

std::string LlamaConfig::to_json() const {
  const bool mistral = architecture == Architecture::kMistral;
  using Ordered = nlohmann::ordered_json;
  const auto number_or_null = [](int64_t value, int64_t least) { return value < least ? Ordered() : Ordered(value); };
  Ordered json;
  json["architectures"] = {architecture_name()};
  json["model_type"] = mistral ? "mistral" : "llama";
  json["hidden_act"] = "silu";
  json["hidden_size"] = hidden_size;
  json["intermediate_size"] = intermediate_size;
  json["num_hidden_layers"] = num_hidden_layers;
  json["num_attention_heads"] = num_attention_heads;
  json["num_key_value_heads"] = num_key_value_heads;
  json["head_dim"] = head_dim;
  json["vocab_size"] = vocab_size;
  json["max_position_embeddings"] = max_position_embeddings;
  if (mistral) json["sliding_window"] = number_or_null(sliding_window, 1);
  json["rms_norm_eps"] = rms_norm_eps;
  json["rope_theta"] = rope_theta;
  json["rope_scaling"] = nullptr;
  json["tie_word_embeddings"] = tie_word_embeddings;
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["bos_token_id"] = number_or_null(bos_token_id, 0);
  json["eos_token_id"] = number_or_null(eos_token_id, 0);
  json["torch_dtype"] = torch_dtype;
  return json.dump(2) + "\n";
}

std::map<std::string, std::vector<int64_t>> LlamaConfig::tensors() const {
  const int64_t query_width = num_attention_heads * head_dim, key_width = num_key_value_heads * head_dim;
  std::map<std::string, std::vector<int64_t>> shapes;
  shapes["model.embed_tokens.weight"] = {vocab_size, hidden_size};
  for (int64_t i = 0; i < num_hidden_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    shapes[layer + "input_layernorm.weight"] = {hidden_size};
    shapes[layer + "self_attn.q_proj.weight"] = {query_width, hidden_size};
    shapes[layer + "self_attn.k_proj.weight"] = {key_width, hidden_size};
    shapes[layer + "self_attn.v_proj.weight"] = {key_width, hidden_size};
    shapes[layer + "self_attn.o_proj.weight"] = {hidden_size, query_width};
    shapes[layer + "post_attention_layernorm.weight"] = {hidden_size};
    shapes[layer + "mlp.gate_proj.weight"] = {intermediate_size, hidden_size};
    shapes[layer + "mlp.up_proj.weight"] = {intermediate_size, hidden_size};
    shapes[layer + "mlp.down_proj.weight"] = {hidden_size, intermediate_size};
  }
  shapes["model.norm.weight"] = {hidden_size};
  if (!tie_word_embeddings) shapes["lm_head.weight"] = {vocab_size, hidden_size};
  return shapes;
}

}  // namespace verbatim
