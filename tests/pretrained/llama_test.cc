#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/scratch_folder.h"
#include "formats/safetensors.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "pretrained/llama_export.h"
#include "pretrained/llama_import.h"
#include "pretrained/plain_llama.h"
#include "tiny_models.h"
#include "tokenizers/model_builder.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_model;
using testing::PlainLlama;
using testing::ScratchFolder;
using Json = nlohmann::json;

constexpr const char* kText = "the other thing, and then \xC3\xBC\xFF!";

// [rows, V] of a whole document.
at::Tensor logits_of(LanguageModel& model, std::string_view text) {
  torch::NoGradGuard no_grad;
  const at::Tensor h_ND = model.forward(make_batch(model.segmenter(), {{.bytes = text}}), {});
  std::vector<at::Tensor> rows;
  for (int64_t r = 0; r < h_ND.size(0); ++r) {
    const at::Tensor row = h_ND[r].contiguous();
    rows.push_back(
        at::tensor(model.decoder().scores({row.data_ptr<float>(), static_cast<size_t>(row.numel())}), at::kFloat));
  }
  return at::stack(rows);
}

void expect_same_numbers(LanguageModel& a, LanguageModel& b) {
  const auto expected = a.named_parameters();
  ASSERT_EQ(b.named_parameters().size(), expected.size());
  for (const auto& parameter : b.named_parameters()) {
    EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << parameter.key();
  }
  EXPECT_TRUE(at::equal(logits_of(a, kText), logits_of(b, kText)));
}

std::string tokenizer_model() { return testing_models::small_model().build(); }

// Writes the checkpoint with a SentencePiece model into the folder "source" and returns its path.
std::filesystem::path write_source(const ScratchFolder& scratch, const PlainLlama& llama) {
  llama.write(scratch / "source");
  scratch.write("source/tokenizer.model", tokenizer_model());
  return scratch / "source";
}

void expect_plain_logits(const PlainLlama& llama, const std::filesystem::path& source) {
  const LlamaImport import = read_llama(source);
  const PositionBatch batch = make_batch(import.model->segmenter(), {{.bytes = kText}});
  EXPECT_EQ(batch.ids.front(), 1);
  const std::vector<std::vector<double>> expected = llama.logits(batch.ids);
  const at::Tensor logits = logits_of(*import.model, kText);
  ASSERT_EQ(logits.size(0), static_cast<int64_t>(expected.size()));
  ASSERT_EQ(logits.size(1), static_cast<int64_t>(expected[0].size()));
  for (size_t r = 0; r < expected.size(); ++r) {
    for (size_t v = 0; v < expected[r].size(); ++v) {
      ASSERT_NEAR(logits[static_cast<int64_t>(r)][static_cast<int64_t>(v)].item<float>(), expected[r][v], 1e-4)
          << "row " << r << " symbol " << v;
    }
  }
}

TEST(llama_import, computes_what_the_definition_says) {
  const Json tied = {{"tie_word_embeddings", true}};
  const Json mistral = {{"architectures", {"MistralForCausalLM"}}, {"model_type", "mistral"}, {"sliding_window", 5}};
  for (const Json& changes : {Json::object(), tied, mistral, Json{{"num_key_value_heads", 1}, {"head_dim", 4}}}) {
    SCOPED_TRACE(changes.dump());
    const ScratchFolder scratch;
    const PlainLlama llama = PlainLlama::make(changes);
    expect_plain_logits(llama, write_source(scratch, llama));
  }
}

TEST(llama_import, reads_half_precision_and_shards) {
  for (const char* dtype : {"F16", "BF16"}) {
    SCOPED_TRACE(dtype);
    const ScratchFolder scratch;
    const PlainLlama llama = PlainLlama::make(Json::object(), dtype);
    const std::filesystem::path source = write_source(scratch, llama);
    expect_plain_logits(llama, source);
    EXPECT_EQ(read_llama(source).stored_types, dtype);
  }
  const ScratchFolder scratch;
  const PlainLlama llama = PlainLlama::make();
  llama.write(scratch / "source", /*shard_bytes=*/8000);
  scratch.write("source/tokenizer.model", tokenizer_model());
  ASSERT_FALSE(std::filesystem::exists(scratch / "source" / "model.safetensors"));
  expect_plain_logits(llama, scratch / "source");
}

TEST(llama_import, finds_each_kind_of_tokenizer) {
  const ScratchFolder scratch;
  const PlainLlama llama = PlainLlama::make();
  llama.write(scratch / "source");
  const std::filesystem::path source = scratch / "source";
  const auto refusal = [&] {
    try {
      (void)read_llama(source);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal(), HasSubstr("has no tokenizer"));
  scratch.write("source/tok.model", tokenizer_model());
  EXPECT_EQ(read_llama(source).tokenizer_file, "tok.model");
  scratch.write("source/other.model", tokenizer_model());
  EXPECT_THAT(refusal(), HasSubstr("2 files *.model"));
  scratch.write("source/tokenizer.model", tokenizer_model());
  EXPECT_EQ(read_llama(source).tokenizer_file, "tokenizer.model");
  const auto parsed = SentencepieceModel::parse(tokenizer_model(), "test");
  scratch.write("source/tokenizer.json", testing_models::llama2_style_json(parsed).dump());
  EXPECT_EQ(read_llama(source).tokenizer_file, "tokenizer.json");
  expect_plain_logits(llama, source);
}

// Takes the best and remembers which candidates there were.
struct Witness final : Chooser {
  std::vector<float> seen;
  int64_t choose(std::span<float> scores) override {
    seen.assign(scores.begin(), scores.end());
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  }
};

TEST(llama_import, never_chooses_ids_without_a_token) {
  const ScratchFolder scratch;
  const auto model = read_llama(write_source(scratch, PlainLlama::make())).model;
  Witness witness;
  (void)model->choose(model->start(), witness);
  ASSERT_EQ(witness.seen.size(), 300U);
  const size_t tokens = testing_models::small_model().pieces.size();
  ASSERT_LT(tokens, 300U);
  for (size_t id = 0; id < 300; ++id) {
    const bool never = id == 0 || id == 1 || id >= tokens || testing_models::small_model().pieces[id].type == 3;
    EXPECT_EQ(std::isinf(witness.seen[id]), never && id != 2) << id;
  }
}

TEST(llama_import, takes_document_symbols_from_the_configuration) {
  const ScratchFolder scratch;
  const auto model =
      read_llama(write_source(scratch, PlainLlama::make({{"bos_token_id", 2}, {"eos_token_id", {1, 0}}}))).model;
  EXPECT_EQ(model->segmenter().start_ids(), std::vector<int32_t>{2});
  EXPECT_EQ(model->segmenter().end_id(), 1);
  const auto beyond =
      read_llama(write_source(scratch, PlainLlama::make({{"bos_token_id", nullptr}, {"eos_token_id", 299}}))).model;
  EXPECT_EQ(beyond->segmenter().start_ids(), std::vector<int32_t>{1});
  EXPECT_EQ(beyond->segmenter().end_id(), 299);
}

TEST(llama_import, publishes_a_model_folder_that_loads) {
  const ScratchFolder scratch;
  const std::filesystem::path source = write_source(scratch, PlainLlama::make());
  const LlamaImport import = import_llama(source, scratch / "model");
  EXPECT_THAT(scratch.names(), ElementsAre("model", "source"));
  const auto loaded = load_model(scratch / "model");
  expect_same_numbers(*import.model, *loaded);
  EXPECT_THROW(import_llama(source, scratch / "model"), InputError);
}

// Everything that can be wrong with a folder, and what the message must say.
TEST(llama_import, refuses_damaged_folders_and_leaves_nothing_behind) {
  struct Case {
    std::string expected;
    std::function<void(PlainLlama&)> damage;
    std::function<void(const ScratchFolder&)> damage_files = [](const ScratchFolder&) {};
  };
  const auto nothing = [](PlainLlama&) {};
  const std::vector<Case> cases = {
      {"\"model.norm.weight\" is missing", [](PlainLlama& l) { l.tensors.erase("model.norm.weight"); }},
      {"\"lm_head.weight\" is missing", [](PlainLlama& l) { l.tensors.erase("lm_head.weight"); }},
      {"\"model.layers.10.input_layernorm.weight\" is missing",
       [](PlainLlama& l) { l.config["num_hidden_layers"] = 1024; }},
      {"\"model.layers.1.input_layernorm.weight\" has no place",
       [](PlainLlama& l) { l.config["num_hidden_layers"] = 1; }},
      {"\"model.layers.0.self_attn.q_proj.bias\" has no place",
       [](PlainLlama& l) {
         l.tensors["model.layers.0.self_attn.q_proj.bias"] = {{24}, std::vector<float>(24)};
       }},
      {"\"lm_head.weight\" has no place", [](PlainLlama& l) { l.config["tie_word_embeddings"] = true; }},
      {"has shape [300, 16], config.json asks for [300, 65536]",
       [](PlainLlama& l) { l.config["hidden_size"] = 65536; }},
      {"has shape [16, 24], config.json asks for [16, 1048576]",
       [](PlainLlama& l) { l.config["intermediate_size"] = 1 << 20; }},
      {"has shape [24, 16], config.json asks for [12, 16]",
       [](PlainLlama& l) {
         l.tensors["model.layers.0.self_attn.k_proj.weight"].shape = {24, 16};
         l.tensors["model.layers.0.self_attn.k_proj.weight"].values.resize(24 * 16);
       }},
      {"has 289 tokens",
       [](PlainLlama& l) {
         l = PlainLlama::make({{"vocab_size", 280}});
       }},
      {"encoder.end_id is 262", [](PlainLlama& l) { l.config["eos_token_id"] = 262; }},
      {"config.json: not JSON", nothing,
       [](const ScratchFolder& s) { s.write("source/config.json", "{\"architectures\": [\"Llama"); }},
      {"has no config.json", nothing,
       [](const ScratchFolder& s) { std::filesystem::remove(s / "source" / "config.json"); }},
      {"neither model.safetensors nor", nothing,
       [](const ScratchFolder& s) { std::filesystem::remove(s / "source" / "model.safetensors"); }},
      {"pickle", nothing,
       [](const ScratchFolder& s) {
         std::filesystem::rename(s / "source" / "model.safetensors", s / "source" / "pytorch_model.bin");
       }},
      {"model.safetensors", nothing,
       [](const ScratchFolder& s) { std::filesystem::resize_file(s / "source" / "model.safetensors", 5000); }},
      {"tokenizer.model", nothing,
       [](const ScratchFolder& s) { s.write("source/tokenizer.model", tokenizer_model().substr(0, 1000)); }},
      {"only F32, F16 and BF16", nothing,
       [](const ScratchFolder& s) {
         const std::string path = (s / "source" / "model.safetensors").string();
         std::string bytes = ScratchFolder::read(path);
         for (size_t at = bytes.find("\"F32\""); at != std::string::npos; at = bytes.find("\"F32\"")) {
           bytes.replace(at, 5, "\"I32\"");
         }
         std::ofstream(path, std::ios::binary) << bytes;
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expected);
    const ScratchFolder scratch;
    PlainLlama llama = PlainLlama::make();
    c.damage(llama);
    write_source(scratch, llama);
    c.damage_files(scratch);
    std::string message;
    try {
      import_llama(scratch / "source", scratch / "model");
    } catch (const InputError& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr(c.expected));
    EXPECT_THAT(scratch.names(), ElementsAre("source"));
  }
  const ScratchFolder scratch;
  EXPECT_THROW((void)read_llama(scratch / "none"), InputError);
  EXPECT_THROW((void)read_llama(scratch.write("file", "x")), InputError);
}

TEST(llama_import, accepts_what_older_writers_store_besides) {
  const ScratchFolder scratch;
  PlainLlama llama = PlainLlama::make({{"tie_word_embeddings", true}});
  llama.tensors["lm_head.weight"] = llama.tensors["model.embed_tokens.weight"];
  llama.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{3}, {1, 2, 3}};
  expect_plain_logits(llama, write_source(scratch, llama));
}

TEST(llama_export, gives_back_every_bit_and_byte) {
  for (const Json& changes :
       {Json::object(), Json{{"tie_word_embeddings", true}},
        Json{{"architectures", {"MistralForCausalLM"}}, {"model_type", "mistral"}, {"sliding_window", 5}}}) {
    SCOPED_TRACE(changes.dump());
    const ScratchFolder scratch;
    const PlainLlama llama = PlainLlama::make(changes);
    const std::filesystem::path source = write_source(scratch, llama), out = scratch / "out";
    const auto model = read_llama(source).model;
    const LlamaExport written = export_llama(*model, out, {});
    EXPECT_EQ(written.positions, 64);
    for (const char* name : {"model.safetensors", "tokenizer.model"}) {
      EXPECT_EQ(ScratchFolder::read(out / name), ScratchFolder::read(source / name)) << name;
    }
    EXPECT_EQ(Json::parse(ScratchFolder::read(out / "config.json")), llama.config);
    const auto tokenizer = Json::parse(ScratchFolder::read(out / "tokenizer_config.json"));
    EXPECT_EQ(tokenizer["tokenizer_class"], "LlamaTokenizer");
    EXPECT_EQ(tokenizer["bos_token"], "<s>");
    EXPECT_EQ(tokenizer["eos_token"], "</s>");
    const auto generation = Json::parse(ScratchFolder::read(out / "generation_config.json"));
    EXPECT_EQ(generation["eos_token_id"], 2);
    EXPECT_TRUE(std::filesystem::exists(out / "README.md"));
    EXPECT_THAT(scratch.names(), ElementsAre("out", "source"));
    expect_same_numbers(*model, *read_llama(out).model);
    EXPECT_THROW(export_llama(*model, out, {}), InputError);
  }
}

TEST(llama_export, rounds_to_the_type_asked_for) {
  const std::vector<std::pair<std::string, at::ScalarType>> types = {{"bfloat16", at::kBFloat16},
                                                                     {"float16", at::kHalf}};
  for (const auto& [name, type] : types) {
    const ScratchFolder scratch;
    const auto model = read_llama(write_source(scratch, PlainLlama::make())).model;
    export_llama(*model, scratch / "out", {.dtype = name});
    const LlamaImport again = read_llama(scratch / "out");
    EXPECT_EQ(again.stored_types, name == "float16" ? "F16" : "BF16");
    const auto expected = model->named_parameters();
    for (const auto& parameter : again.model->named_parameters()) {
      EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()].to(type).to(at::kFloat)));
    }
    EXPECT_EQ(Json::parse(ScratchFolder::read(scratch / "out" / "config.json"))["torch_dtype"], name);
  }
}

TEST(llama_export, writes_bytes_as_tokens) {
  const ScratchFolder scratch;
  const auto model = make_model(testing::kTinyByte);
  export_llama(*model, scratch / "out", {.positions = 77});
  const auto again = read_llama(scratch / "out").model;
  EXPECT_EQ(again->settings().family, "token");
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
  for (const std::string& text : {std::string(kText), every_byte, std::string()}) {
    EXPECT_EQ(make_batch(again->segmenter(), {{.bytes = text}}).ids,
              make_batch(model->segmenter(), {{.bytes = text}}).ids);
    EXPECT_TRUE(at::equal(logits_of(*model, text), logits_of(*again, text)));
  }
  const auto config = Json::parse(ScratchFolder::read(scratch / "out" / "config.json"));
  EXPECT_EQ(config["vocab_size"], 257);
  EXPECT_EQ(config["max_position_embeddings"], 77);
  const auto tokenizer = Json::parse(ScratchFolder::read(scratch / "out" / "tokenizer_config.json"));
  EXPECT_EQ(tokenizer["eos_token"], "<|endoftext|>");
}

TEST(llama_export, refuses_models_of_another_shape) {
  const ScratchFolder scratch;
  const auto message = [&](LanguageModel& model, const LlamaExportOptions& options = {}) {
    try {
      export_llama(model, scratch / "out", options);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(*make_model(testing::kTinyPatch)), HasSubstr("the backbone is of kind"));
  EXPECT_THAT(message(*make_model(std::string(testing::kTinyByte) + "[encoder]\nngram_sizes = [2]\n")),
              HasSubstr("n-grams"));
  const auto model = make_model(testing::kTinyByte);
  EXPECT_THAT(message(*model, {.dtype = "int8"}), HasSubstr("int8"));
  {
    torch::NoGradGuard no_grad;
    model->parameters().front().fill_(1e6);
  }
  EXPECT_THAT(message(*model, {.dtype = "float16"}), HasSubstr("float16 cannot hold"));
  EXPECT_TRUE(scratch.names().empty());
}

}  // namespace
}  // namespace verbatim
