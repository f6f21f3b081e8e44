// T-Free checkpoints, and through them the family itself against the reference: logits, loss, gradients, training steps
// and generations (golden/tfree; the specification's README says how they were made).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/scratch_folder.h"
#include "families/tfree/tfree_decoder.h"
#include "families/tfree/tfree_encoder.h"
#include "formats/safetensors.h"
#include "formats/torch_zip_writer.h"
#include "generate/generate.h"
#include "model/model_folder.h"
#include "model/tensor_io.h"
#include "nn/kernels/adamw.h"
#include "nn/torch.h"
#include "pretrained/tfree_checkpoint.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using Json = nlohmann::json;
namespace fs = std::filesystem;

fs::path golden() { return fs::path(VERBATIM_SHARED) / "golden/tfree"; }

Json json_of(const fs::path& file) { return Json::parse(read_file(file, 1 << 28)); }

at::Tensor stored(const SafetensorsReader& reader, const std::string& name) {
  return tensor_from_view(reader.tensor(name), name);
}

class tfree_checkpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(golden())) GTEST_SKIP() << "the reference's results are not there: " << golden().string();
  }

  // A checkpoint folder as the reference writes it, from a golden model.
  fs::path write_source(const std::string& model, const std::vector<std::string>& words = {},
                        const std::vector<std::pair<std::string, int64_t>>& counts = {}) {
    const fs::path from = golden() / model;
    fs::path to = scratch_ / "source";
    fs::create_directories(to / "transformer");
    fs::create_directories(to / "tokenizer");
    const SafetensorsReader reader = SafetensorsReader::open(from / "model.safetensors");
    std::vector<std::pair<std::string, TorchValue>> weights;
    for (const auto& [name, view] : reader.tensors()) weights.emplace_back(name, view);
    write_torch_zip(to / "transformer/transformer.pt", weights);
    const Json config = json_of(from / "config.json");
    write_file_atomically(to / "transformer/transformer_config.yaml", config["architecture"].dump());
    write_file_atomically(to / "tokenizer/tokenizer_config.yaml", config["tokenizer"].dump());
    if (!words.empty()) {
      write_torch_zip(to / "tokenizer/tokenizer.pt", {{"words", words}, {"word_counter_full", counts}});
    }
    return to;
  }

  std::shared_ptr<LanguageModel> read_golden(const std::string& model) { return read_tfree(write_source(model)).model; }

  ScratchFolder scratch_;
};

at::Tensor head_of(LanguageModel& model) { return model.named_parameters()["decoder.head.weight"]; }

// The rows of words without a start row, as the reference reads them; `rows` of them predict (the last word only is
// predicted when the document is whole).
void add_document(PositionBatch& batch, LanguageModel& model, const std::string& text, size_t rows) {
  const Positions positions = model.segmenter().segment(text, DocumentPart::kStart);
  const bool whole = rows >= positions.size();
  append_positions(batch, model.segmenter(), positions, text,
                   {.end = whole ? positions.size() : rows + 1, .start_row = false, .end_target = whole});
}

TEST_F(tfree_checkpoint, gives_the_logits_of_the_reference) {
  for (const char* name : {"model_a", "model_b"}) {
    const std::shared_ptr<LanguageModel> model = read_golden(name);
    const Json inference = json_of(golden() / name / "inference.json");
    const std::string text = inference["text"];
    PositionBatch batch;
    const Positions positions = model->segmenter().segment(text, DocumentPart::kStart);
    append_positions(batch, model->segmenter(), positions, text,
                     {.end = positions.size(), .start_row = false, .end_target = false});
    torch::NoGradGuard no_grad;
    const at::Tensor logits = at::mm(model->forward(batch, {}), head_of(*model).t());
    const SafetensorsReader reader = SafetensorsReader::open(golden() / name / "inference.safetensors");
    const at::Tensor expected = stored(reader, "logits");
    ASSERT_EQ(logits.sizes(), expected.sizes()) << name;
    EXPECT_LT((logits - expected).abs().max().item<float>(), 1e-4F) << name;
    // Word by word.
    StreamState state = model->start();
    for (size_t i = 0; i < positions.size(); ++i) {
      model->read_position(state, positions.ids_of(i));
      const at::Tensor step = at::tensor(model->decoder().scores(state.newest_D));
      ASSERT_LT((step - expected[static_cast<int64_t>(i)]).abs().max().item<float>(), 1e-4F) << name << " word " << i;
    }
    fs::remove_all(scratch_ / "source");
  }
}

// The golden batch: sequence 0 joins documents and is cut, sequence 1 is one document. Padding has no rows here.
PositionBatch golden_batch(LanguageModel& model, const Json& train) {
  PositionBatch batch;
  const auto length = train["sequence_length"].get<int64_t>();
  for (const char* documents : {"documents_seq0", "documents_seq1"}) {
    const int64_t begin = batch.rows();
    for (const Json& text : train[documents]) {
      const int64_t left = length - (batch.rows() - begin);
      if (left > 0) add_document(batch, model, text, static_cast<size_t>(left));
    }
  }
  return batch;
}

// The sum of the reference's loss with its factor S, from ours, which is scaled by S already.
at::Tensor golden_loss(LanguageModel& model, const Json& train, const PositionBatch& batch) {
  const double rows = 2 * train["sequence_length"].get<double>();
  auto& decoder = dynamic_cast<TfreeDecoder&>(model.decoder());
  std::vector<float> weights;
  const nn::TargetLists targets = decoder.target_lists(batch, weights);
  const at::Tensor loss = nn::multi_label_loss(model.forward(batch, {}), head_of(model), targets,
                                               at::from_blob(weights.data(), {batch.rows()}, at::kFloat).clone(),
                                               train["loss_pos_weight"].get<double>());
  return loss.sum() * (train["loss_scale"].get<double>() / rows);
}

// Puts a gradient or weight of the reference into our order of rows.
at::Tensor in_our_order(const at::Tensor& value, const std::string& name, int64_t heads) {
  if (name.find("attention.query") == std::string::npos && name.find("attention.key") == std::string::npos)
    return value;
  const int64_t width = value.size(0), half = width / heads / 2;
  at::Tensor result = at::empty_like(value);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < half; ++i) {
      result[h * 2 * half + i].copy_(value[h * 2 * half + 2 * i]);
      result[h * 2 * half + half + i].copy_(value[h * 2 * half + 2 * i + 1]);
    }
  }
  return result;
}

std::string our_name(std::string name, bool gated) {
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (const size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  };
  if (name == "lm_head.weight") return "decoder.head.weight";
  if (name == "transformer.embeddings.embedding.weight") return "encoder.table.weight";
  replace("transformer.", "backbone.");
  replace("attention.query", "self_attn.q_proj");
  replace("attention.key", "self_attn.k_proj");
  replace("attention.value", "self_attn.v_proj");
  replace("attention.dense", "self_attn.o_proj");
  replace("dense_in", gated ? "gate_proj" : "up_proj");
  replace("mlp.swiglu", "mlp.up_proj");
  replace("dense_out", "down_proj");
  return name;
}

TEST_F(tfree_checkpoint, gives_the_loss_and_gradients_of_the_reference) {
  for (const char* name : {"model_a", "model_b"}) {
    const std::shared_ptr<LanguageModel> model = read_golden(name);
    const Json train = json_of(golden() / name / "train_batch.json");
    const int64_t heads = model->settings().backbone.stack.heads;
    const PositionBatch batch = golden_batch(*model, train);
    const at::Tensor loss = golden_loss(*model, train, batch);
    const double expected_loss = train["loss_scaled"];
    EXPECT_NEAR(loss.item<double>(), expected_loss, 1e-4 * expected_loss) << name;
    loss.backward();
    const SafetensorsReader reader = SafetensorsReader::open(golden() / name / "grads.safetensors");
    auto parameters = model->named_parameters();
    for (const auto& [tensor, view] : reader.tensors()) {
      const std::string ours = our_name(tensor, model->settings().backbone.stack.mlp == "swiglu");
      ASSERT_TRUE(parameters.contains(ours)) << tensor << " is here " << ours;
      const at::Tensor expected = in_our_order(tensor_from_view(view, tensor), tensor, heads);
      const double size = expected.abs().max().item<double>();
      EXPECT_LT((parameters[ours].grad() - expected).abs().max().item<double>(), 2e-4 * size + 1e-6) << tensor;
    }
    fs::remove_all(scratch_ / "source");
  }
}

TEST_F(tfree_checkpoint, trains_as_the_reference_does) {
  for (const char* name : {"model_a", "model_b"}) {
    for (const char* file : {"training_noclip.json", "training_clip.json"}) {
      if (!fs::exists(golden() / name / file)) continue;
      const std::shared_ptr<LanguageModel> model = read_golden(name);
      const Json train = json_of(golden() / name / "train_batch.json"), run = json_of(golden() / name / file);
      const double limit = run["gradient_clipping"].get<double>();
      std::vector<nn::AdamWTensor> tensors;
      std::vector<at::Tensor> weights;
      for (auto& parameter : model->named_parameters()) {
        if (parameter.key().starts_with("decoder.") && parameter.key() != "decoder.head.weight") continue;
        const at::Tensor weight = parameter.value().detach();
        weights.push_back(parameter.value());
        tensors.push_back({.weight = weight,
                           .gradient = {},
                           .first_moment = at::zeros_like(weight),
                           .second_moment = at::zeros_like(weight),
                           .weight_decay = parameter.key().ends_with(".bias") ? 0 : run["weight_decay"].get<double>(),
                           .learning_rate_factor = 1});
      }
      int64_t step = 0;
      for (const Json& expected : run["steps"]) {
        for (at::Tensor& weight : weights) weight.mutable_grad() = at::zeros_like(weight);
        const at::Tensor loss = golden_loss(*model, train, golden_batch(*model, train));
        loss.backward();
        const double unscaled = loss.item<double>() / train["loss_scale"].get<double>();
        // Twenty-two steps on one batch fall steeply: rounding grows with them.
        EXPECT_NEAR(unscaled, expected["loss_unscaled"].get<double>(), 2e-3 * unscaled) << name << " step " << step + 1;
        double squares = 0;
        for (size_t i = 0; i < weights.size(); ++i) {
          tensors[i].gradient = weights[i].grad();
          squares += tensors[i].gradient.to(at::kDouble).square().sum().item<double>();
        }
        const double norm = std::sqrt(squares);
        EXPECT_NEAR(norm, expected["grad_norm"].get<double>(), 2e-2 * norm) << name << " step " << step + 1;
        const double scale = limit > 0 && norm >= limit ? limit / norm : 1;
        nn::adamw_update(tensors, {.learning_rate = expected["lr"].get<double>(),
                                   .beta1 = run["beta1"].get<double>(),
                                   .beta2 = run["beta2"].get<double>(),
                                   .epsilon = run["eps"].get<double>(),
                                   .gradient_scale = scale,
                                   .step = ++step});
      }
      EXPECT_EQ(step, static_cast<int64_t>(run["steps"].size()));
      fs::remove_all(scratch_ / "source");
    }
  }
}

TEST_F(tfree_checkpoint, writes_the_texts_of_the_reference) {
  const Json dictionary = json_of(golden() / "model_a_trained/dictionary.json");
  const auto words = dictionary["words"].get<std::vector<std::string>>();
  std::vector<std::pair<std::string, int64_t>> counts;
  for (size_t i = 0; i < words.size(); ++i) counts.emplace_back(words[i], dictionary["counts"][i].get<int64_t>());
  // The trained weights have no configuration of their own words' file: it is model_a's.
  const std::shared_ptr<LanguageModel> model = read_tfree(write_source("model_a_trained", words, counts)).model;
  const auto& decoder = dynamic_cast<TfreeDecoder&>(model->decoder());
  ASSERT_EQ(decoder.dictionary().size(), words.size());
  const WordSplitter splitter(SplitOptions::strict());
  int compared = 0;
  const Json generations = json_of(golden() / "model_a_trained/generation.json");
  for (const Json& entry : generations["generations"]) {
    if (entry["options"].contains("abort_eot")) continue;  // the end of a document always ends a text here
    const std::string prompt = entry["prompt"];
    std::vector<std::string> expected = entry["words"];
    const bool ends = expected.back() == "<|endoftext|>";
    if (ends) expected.pop_back();
    Words prompt_words;
    splitter.split(prompt, prompt_words);
    std::vector<std::string_view> all;
    for (const Word& word : prompt_words.list) all.push_back(word.text);
    for (const std::string& word : expected) all.push_back(word);
    const std::string whole = splitter.join(all);
    const GenerateResult result =
        generate(*model, {prompt},
                 {.max_bytes = static_cast<int64_t>(std::max<size_t>(1, whole.size() - prompt.size())),
                  .sampling = {.temperature = 0}});
    EXPECT_EQ(prompt + result.texts[0].text, whole);
    ++compared;
  }
  EXPECT_EQ(compared, 8);
}

TEST_F(tfree_checkpoint, reads_the_container_of_the_reference) {
  const fs::path source = write_source("model_b");
  fs::remove_all(source / "transformer");
  fs::copy(golden() / "checkpoint_b/transformer", source / "transformer", fs::copy_options::recursive);
  const std::shared_ptr<LanguageModel> model = read_tfree(source).model;
  const SafetensorsReader reader = SafetensorsReader::open(golden() / "model_b/model.safetensors");
  EXPECT_TRUE(at::equal(head_of(*model), stored(reader, "lm_head.weight")));
  EXPECT_TRUE(at::equal(model->named_parameters()["backbone.layers.1.mlp.up_proj.bias"],
                        stored(reader, "transformer.layers.1.mlp.dense_in.bias")));
  const at::Tensor query = stored(reader, "transformer.layers.0.attention.query.weight");
  EXPECT_TRUE(at::equal(model->named_parameters()["backbone.layers.0.self_attn.q_proj.weight"],
                        in_our_order(query, "attention.query", 2)));
}

TEST_F(tfree_checkpoint, reads_the_cached_dictionary_of_the_reference) {
  const fs::path source = write_source("model_a");
  fs::copy(golden() / "cached_dictionary/tokenizer.pt", source / "tokenizer/tokenizer.pt");
  const Json dictionary = json_of(golden() / "model_a_trained/dictionary.json");
  const std::shared_ptr<LanguageModel> model = read_tfree(source).model;
  const Dictionary& words = dynamic_cast<TfreeDecoder&>(model->decoder()).dictionary();
  ASSERT_EQ(words.size(), dictionary["words"].size());
  for (size_t i = 0; i < words.size(); ++i) {
    EXPECT_EQ(words.word(i), dictionary["words"][i].get<std::string>());
    EXPECT_EQ(words.count(i), dictionary["counts"][i].get<uint64_t>());
  }
}

TEST_F(tfree_checkpoint, comes_back_from_export_bit_for_bit) {
  for (const char* name : {"model_a", "model_b"}) {
    const std::shared_ptr<LanguageModel> model = read_golden(name);
    export_tfree(*model, scratch_ / "exported");
    const std::shared_ptr<LanguageModel> back = read_tfree(scratch_ / "exported").model;
    auto expected = model->named_parameters();
    for (const auto& parameter : back->named_parameters()) {
      EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << parameter.key();
    }
    EXPECT_EQ(back->settings().backbone.stack.hidden, model->settings().backbone.stack.hidden);
    // And every key of the configurations but those that say where and in which precision the reference computes, and
    // the seed and the files of tokenizers that cannot be imported. Many values of mlp_factor give the same hidden
    // width, which is compared above.
    for (const char* file : {"transformer/transformer_config.yaml", "tokenizer/tokenizer_config.yaml"}) {
      Json written = json_of(scratch_ / "exported" / file), read = json_of(scratch_ / "source" / file);
      for (const char* key :
           {"use_flash", "precision", "seed", "prefix_path_tokenizer_file", "cache_dir", "mlp_factor"}) {
        written.erase(key);
        read.erase(key);
      }
      for (const auto& [key, value] : read.items()) EXPECT_EQ(written[key], value) << name << " " << key;
    }
    fs::remove_all(scratch_ / "exported");
    fs::remove_all(scratch_ / "source");
  }
}

TEST_F(tfree_checkpoint, imports_into_a_model_folder) {
  import_tfree(write_source("model_a"), scratch_ / "model");
  const std::shared_ptr<LanguageModel> model = load_model(scratch_ / "model");
  EXPECT_EQ(model->settings().family, "tfree");
  EXPECT_TRUE(at::equal(head_of(*model), head_of(*read_golden("model_a"))));
}

TEST_F(tfree_checkpoint, refuses_what_does_not_fit) {
  const auto message = [&](const fs::path& source) -> std::string {
    try {
      (void)read_tfree(source);
    } catch (const InputError& error) {
      return error.what();
    }
    return "nothing was wrong";
  };
  const fs::path source = write_source("model_a");
  const fs::path config = source / "transformer/transformer_config.yaml";
  const fs::path tokenizer = source / "tokenizer/tokenizer_config.yaml";
  const Json transformer = json_of(config), words = json_of(tokenizer);
  const auto with = [](Json json, const char* key, const Json& value) {
    json[key] = value;
    return json.dump();
  };
  write_file_atomically(config, with(transformer, "num_layers", 3));
  EXPECT_THAT(message(source), HasSubstr("transformer.layers.2.input_layernorm.weight\" is missing"));
  write_file_atomically(config, with(transformer, "num_layers", 1));
  EXPECT_THAT(message(source), HasSubstr("has no place"));
  write_file_atomically(config, with(transformer, "hidden_size", 128));
  EXPECT_THAT(message(source), HasSubstr("of shape [1024, 128]"));
  write_file_atomically(config, with(transformer, "attention", "linear"));
  EXPECT_THAT(message(source), HasSubstr("unknown key \"attention\""));
  write_file_atomically(config, with(transformer, "norm", "batch"));
  EXPECT_THAT(message(source), HasSubstr("expected one of layer, rms"));
  write_file_atomically(config, "{");
  EXPECT_THAT(message(source), HasSubstr("not JSON"));
  write_file_atomically(config, transformer.dump());
  write_file_atomically(tokenizer, with(words, "do_classic_tokenization", true));
  EXPECT_THAT(message(source), HasSubstr("ordinary tokenizer"));
  write_file_atomically(tokenizer, with(words, "initialize", "orthogonal"));
  EXPECT_THAT(message(source), HasSubstr("orthogonal"));
  write_file_atomically(tokenizer, with(words, "vocab_size", 99));
  EXPECT_THAT(message(source), HasSubstr("the transformer has 1024"));
  fs::remove(tokenizer);
  EXPECT_THAT(message(source), HasSubstr("has no tokenizer/tokenizer_config.yaml"));
}

TEST(tfree_config, counts_the_parameters_of_the_published_model) {
  // 7B: the specification's numbers (section 4), from shapes alone.
  TfreeCheckpointConfig config;
  config.parse_transformer(R"({"vocab_size": 32000, "hidden_size": 4096, "num_layers": 32, "num_attention_heads": 32,
                               "mlp_factor": 2.66796875})",
                           "test");
  const auto settings = config.settings("dictionary.jsonl");
  const StackSettings& stack = settings->backbone.stack;
  EXPECT_EQ(stack.hidden, 10928);
  const int64_t layer = 4 * stack.width * stack.width + 3 * stack.width * stack.hidden + 2 * stack.width;
  EXPECT_EQ(2 * config.vocab_size * stack.width + stack.layers * layer + stack.width, 6706958336);
}

}  // namespace
}  // namespace verbatim
