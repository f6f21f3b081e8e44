#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// What the config.json of a Llama-shaped checkpoint says, checked, with the defaults that its readers use for absent
// keys.
//
// Goals: every setting that changes the numbers is either carried over or refused by name; sizes are bounded, so that
// nothing that follows from them can overflow. Non-goals: scaled rotary positions, biases, mixtures of experts, and
// quantised weights; guessing what an unknown architecture means.
struct LlamaConfig {
  // kLlama sees all rows. kMistral is the same shape with `sliding_window` rows in sight.
  enum class Architecture { kLlama, kMistral };

  Architecture architecture = Architecture::kLlama;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 2048;
  int64_t sliding_window = 0;  // rows, itself included; 0: all
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  bool tie_word_embeddings = false;
  int64_t bos_token_id = -1;  // -1: as the tokenizer says
  int64_t eos_token_id = -1;  // of several, the first
  std::string torch_dtype = "float32";

  // Throws InputError that begins with `where`.
  [[nodiscard]] static LlamaConfig parse(std::string_view json, std::string_view where);
  [[nodiscard]] std::string architecture_name() const;  // "LlamaForCausalLM"
  // All keys, in the order people are used to.
  [[nodiscard]] std::string to_json() const;

  // Names and shapes of exactly the tensors that such a checkpoint holds.
  [[nodiscard]] std::map<std::string, std::vector<int64_t>> tensors() const;
};

}  // namespace verbatim
