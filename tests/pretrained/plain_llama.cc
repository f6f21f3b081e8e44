#include "pretrained/plain_llama.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/random.h"
#include "formats/safetensors.h"

namespace verbatim::testing {
namespace {

using Vector = std::vector<double>;

Vector multiply(const PlainLlama::Tensor& weight, const Vector& x) {
  Vector y(static_cast<size_t>(weight.shape[0]), 0);
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(weight.values[o * x.size() + i]) * x[i];
  }
  return y;
}

Vector rms_norm(const Vector& x, const PlainLlama::Tensor& gain, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * static_cast<double>(gain.values[i]);
  return y;
}

// Pairs (i, i + half) of each head turn by position * theta^(-2i / head_dim).
void rotate(Vector& x, size_t head_dim, size_t position, double theta) {
  const size_t half = head_dim / 2;
  for (size_t head = 0; head < x.size(); head += head_dim) {
    for (size_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(head_dim));
      const double a = x[head + i], b = x[head + i + half];
      x[head + i] = a * std::cos(angle) - b * std::sin(angle);
      x[head + i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

// Rounds in place and returns the stored bytes.
std::string store(std::vector<float>& values, const std::string& dtype) {
  std::string bytes;
  for (float& value : values) {
    if (dtype == "F32") {
      bytes.append(reinterpret_cast<const char*>(&value), 4);
    } else {
      const uint16_t bits = dtype == "F16" ? c10::Half(value).x : c10::BFloat16(value).x;
      value = dtype == "F16" ? static_cast<float>(c10::Half(bits, c10::Half::from_bits()))
                             : static_cast<float>(c10::BFloat16(bits, c10::BFloat16::from_bits()));
      bytes.append(reinterpret_cast<const char*>(&bits), 2);
    }
  }
  return bytes;
}

}  // namespace

PlainLlama PlainLlama::make(const nlohmann::json& changes, const std::string& dtype) {
  PlainLlama llama;
  llama.dtype = dtype;
  llama.config = {{"architectures", {"LlamaForCausalLM"}},
                  {"model_type", "llama"},
                  {"hidden_act", "silu"},
                  {"hidden_size", 16},
                  {"intermediate_size", 24},
                  {"num_hidden_layers", 2},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 2},
                  {"head_dim", 6},
                  {"vocab_size", 300},
                  {"max_position_embeddings", 64},
                  {"rms_norm_eps", 1e-3},
                  {"rope_theta", 500.0},
                  {"rope_scaling", nullptr},
                  {"tie_word_embeddings", false},
                  {"attention_bias", false},
                  {"mlp_bias", false},
                  {"bos_token_id", 1},
                  {"eos_token_id", 2},
                  {"torch_dtype", "float32"}};
  llama.config.update(changes);
  const auto& config = llama.config;
  const int64_t width = config["hidden_size"], hidden = config["intermediate_size"], head = config["head_dim"];
  const int64_t query = config["num_attention_heads"].get<int64_t>() * head;
  const int64_t key = config["num_key_value_heads"].get<int64_t>() * head;
  Random random(7);
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, double mean = 0) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    Tensor tensor{std::move(shape), std::vector<float>(count)};
    for (float& value : tensor.values) value = static_cast<float>(mean + 0.4 * random.normal());
    store(tensor.values, dtype);
    llama.tensors[name] = std::move(tensor);
  };
  add("model.embed_tokens.weight", {config["vocab_size"], width});
  for (int64_t i = 0; i < config["num_hidden_layers"].get<int64_t>(); ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    add(layer + "input_layernorm.weight", {width}, 1);
    add(layer + "self_attn.q_proj.weight", {query, width});
    add(layer + "self_attn.k_proj.weight", {key, width});
    add(layer + "self_attn.v_proj.weight", {key, width});
    add(layer + "self_attn.o_proj.weight", {width, query});
    add(layer + "post_attention_layernorm.weight", {width}, 1);
    add(layer + "mlp.gate_proj.weight", {hidden, width});
    add(layer + "mlp.up_proj.weight", {hidden, width});
    add(layer + "mlp.down_proj.weight", {width, hidden});
  }
  add("model.norm.weight", {width}, 1);
  if (!config["tie_word_embeddings"].get<bool>()) add("lm_head.weight", {config["vocab_size"], width});
  return llama;
}

void PlainLlama::write(const std::filesystem::path& folder, uint64_t shard_bytes) const {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << config.dump(2);
  std::map<std::string, std::string> stored;
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    std::vector<float> values = tensor.values;
    const std::string& bytes = stored[name] = store(values, dtype);
    views[name] = {.dtype = dtype,
                   .shape = tensor.shape,
                   .bytes = {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}};
  }
  write_safetensors(folder / "model.safetensors", views, {}, shard_bytes);
}

std::vector<std::vector<double>> PlainLlama::logits(const std::vector<int32_t>& ids) const {
  const auto width = config["hidden_size"].get<size_t>(), head_dim = config["head_dim"].get<size_t>();
  const auto heads = config["num_attention_heads"].get<size_t>(), shared = config["num_key_value_heads"].get<size_t>();
  const double epsilon = config["rms_norm_eps"], theta = config["rope_theta"];
  const size_t window = config.value("sliding_window", nlohmann::json()).is_number()
                            ? config["sliding_window"].get<size_t>()
                            : ids.size();
  const Tensor& table = tensors.at("model.embed_tokens.weight");
  std::vector<Vector> x;
  for (const int32_t id : ids) {
    const auto row = table.values.begin() + static_cast<std::ptrdiff_t>(id * static_cast<int64_t>(width));
    x.emplace_back(row, row + static_cast<std::ptrdiff_t>(width));
  }
  for (int64_t l = 0; l < config["num_hidden_layers"].get<int64_t>(); ++l) {
    const auto weight = [&](const char* name) -> const Tensor& {
      return tensors.at(fmt::format("model.layers.{}.{}.weight", l, name));
    };
    std::vector<Vector> queries, keys, values;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector normed = rms_norm(x[t], weight("input_layernorm"), epsilon);
      queries.push_back(multiply(weight("self_attn.q_proj"), normed));
      keys.push_back(multiply(weight("self_attn.k_proj"), normed));
      values.push_back(multiply(weight("self_attn.v_proj"), normed));
      rotate(queries.back(), head_dim, t, theta);
      rotate(keys.back(), head_dim, t, theta);
    }
    for (size_t t = 0; t < x.size(); ++t) {
      Vector attended(heads * head_dim, 0);
      for (size_t h = 0; h < heads; ++h) {
        const size_t group = h / (heads / shared);
        Vector weights;
        double total = 0;
        const size_t first = t + 1 > window ? t + 1 - window : 0;
        for (size_t s = first; s <= t; ++s) {
          double dot = 0;
          for (size_t i = 0; i < head_dim; ++i) dot += queries[t][h * head_dim + i] * keys[s][group * head_dim + i];
          weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(head_dim))));
          total += weights.back();
        }
        for (size_t s = first; s <= t; ++s) {
          for (size_t i = 0; i < head_dim; ++i) {
            attended[h * head_dim + i] += weights[s - first] / total * values[s][group * head_dim + i];
          }
        }
      }
      const Vector delta = multiply(weight("self_attn.o_proj"), attended);
      for (size_t i = 0; i < width; ++i) x[t][i] += delta[i];
      const Vector normed = rms_norm(x[t], weight("post_attention_layernorm"), epsilon);
      Vector gate = multiply(weight("mlp.gate_proj"), normed);
      const Vector up = multiply(weight("mlp.up_proj"), normed);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const Vector down = multiply(weight("mlp.down_proj"), gate);
      for (size_t i = 0; i < width; ++i) x[t][i] += down[i];
    }
  }
  const Tensor& head = config["tie_word_embeddings"].get<bool>() ? table : tensors.at("lm_head.weight");
  std::vector<Vector> result;
  for (const Vector& row : x) result.push_back(multiply(head, rms_norm(row, tensors.at("model.norm.weight"), epsilon)));
  return result;
}

}  // namespace verbatim::testing
