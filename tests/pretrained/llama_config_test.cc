#include "pretrained/llama_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "pretrained/plain_llama.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// The message that the settings are refused with, or "" when they are accepted.
std::string refusal(const std::string& text) {
  try {
    (void)LlamaConfig::parse(text, "config.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

Json valid() { return testing::PlainLlama::make().config; }

TEST(llama_config, refuses_by_name_what_cannot_be_carried_over) {
  const std::vector<std::pair<Json, std::string>> cases = {
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}, "rope_scaling is {\"factor\":2.0"},
      {{{"rope_scaling", "yarn"}}, "rope_scaling is \"yarn\""},
      {{{"rope_parameters", {{"rope_type", "llama3"}}}}, "rope_parameters.rope_type is \"llama3\""},
      {{{"attention_bias", true}}, "attention_bias is true"},
      {{{"mlp_bias", true}}, "mlp_bias is true"},
      {{{"hidden_act", "gelu"}}, "hidden_act is \"gelu\""},
      {{{"architectures", {"GPT2LMHeadModel"}}}, "the architecture is \"GPT2LMHeadModel\""},
      {{{"architectures", {"LlamaForSequenceClassification"}}}, "LlamaForSequenceClassification"},
      {{{"architectures", nullptr}, {"model_type", "qwen2"}}, "qwen2"},
      {{{"architectures", nullptr}, {"model_type", nullptr}}, "neither architectures nor model_type"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config"},
      {{{"partial_rotary_factor", 0.5}}, "partial_rotary_factor"},
      {{{"head_dim", 5}}, "must be even"},
      {{{"head_dim", nullptr}, {"hidden_size", 18}}, "hidden_size is 18"},
      {{{"num_key_value_heads", 3}}, "num_attention_heads is 4"},
      {{{"num_hidden_layers", 1000000000}}, "num_hidden_layers is 1000000000, expected 1 to 1024"},
      {{{"num_hidden_layers", 0}}, "num_hidden_layers is 0"},
      {{{"hidden_size", 18446744073709551615U}}, "hidden_size is 18446744073709551615"},
      {{{"intermediate_size", -1}}, "intermediate_size is -1"},
      {{{"vocab_size", 1e9}}, "vocab_size is 1000000000.0, expected a whole number"},
      {{{"vocab_size", nullptr}}, "vocab_size is missing"},
      {{{"bos_token_id", 300}}, "bos_token_id is 300, expected 0 to 299"},
      {{{"eos_token_id", {2, 3}}, {"vocab_size", 2}}, "eos_token_id is 2"},
      {{{"rope_theta", 0}}, "rope_theta is 0"},
      {{{"rms_norm_eps", "small"}}, "rms_norm_eps is \"small\""},
  };
  for (const auto& [changes, expected] : cases) {
    Json config = valid();
    config.update(changes);
    EXPECT_THAT(refusal(config.dump()), HasSubstr(expected)) << changes;
  }
  EXPECT_EQ(refusal(valid().dump()), "");
}

TEST(llama_config, refuses_every_truncation) {
  const std::string text = valid().dump();
  for (size_t size = 0; size < text.size(); ++size) EXPECT_NE(refusal(text.substr(0, size)), "") << size;
}

TEST(llama_config, refuses_wrong_types_of_every_key) {
  const Json all = valid();
  for (const auto& [key, value] : all.items()) {
    if (key == "model_type") continue;  // the architecture decides
    for (const Json& wrong : {Json::object({{"a", 1}}), Json::array({Json::array()}), Json(-7), Json("?")}) {
      if (key == "torch_dtype" && wrong.is_string()) continue;  // the file's types decide
      Json config = valid();
      config[key] = wrong;
      EXPECT_THAT(refusal(config.dump()), HasSubstr(key)) << key << " " << wrong;
    }
  }
  for (const char* text : {"", "[]", "null", "7", "\"config\"", "{", "{\"model\": {\"family\": \"byte\"}}"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
}

TEST(llama_config, takes_the_defaults_of_absent_keys) {
  Json config = valid();
  for (const char* key : {"num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta",
                          "rope_scaling", "tie_word_embeddings", "bos_token_id", "eos_token_id"}) {
    config.erase(key);
  }
  const LlamaConfig parsed = LlamaConfig::parse(config.dump(), "config.json");
  EXPECT_EQ(parsed.num_key_value_heads, 4);
  EXPECT_EQ(parsed.head_dim, 4);
  EXPECT_EQ(parsed.max_position_embeddings, 2048);
  EXPECT_EQ(parsed.rms_norm_eps, 1e-6);
  EXPECT_EQ(parsed.rope_theta, 10000);
  EXPECT_FALSE(parsed.tie_word_embeddings);
  EXPECT_EQ(parsed.bos_token_id, -1);
}

TEST(llama_config, reads_the_newer_spelling_of_rotary_settings_and_lists_of_end_ids) {
  Json config = valid();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  config["eos_token_id"] = {7, 8};
  const LlamaConfig parsed = LlamaConfig::parse(config.dump(), "config.json");
  EXPECT_EQ(parsed.rope_theta, 5e5);
  EXPECT_EQ(parsed.eos_token_id, 7);
}

TEST(llama_config, writes_what_it_reads) {
  for (const Json& changes :
       {Json::object(),
        Json{{"architectures", {"MistralForCausalLM"}}, {"model_type", "mistral"}, {"sliding_window", 5}}}) {
    Json config = valid();
    config.update(changes);
    EXPECT_EQ(Json::parse(LlamaConfig::parse(config.dump(), "config.json").to_json()), config);
  }
}

}  // namespace
}  // namespace verbatim
