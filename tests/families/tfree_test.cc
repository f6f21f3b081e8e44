#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "evaluate/arithmetic_coder.h"
#include "evaluate/likelihood.h"
#include "evaluate/position_report.h"
#include "families/tfree/tfree_decoder.h"
#include "generate/generate.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::make_model;
using testing::ScratchFolder;

constexpr const char* kSettings = R"(
[model]
family = "tfree"
[encoder]
vocabulary = 256
ids_per_trigram = 4
[backbone]
kind = "transformer"
width = 16
layers = 2
heads = 2
)";

constexpr const char* kDictionary =
    "[\"<|endoftext|>\", 5]\n[\"the\", 20]\n[\"quick\", 5]\n[\"dog\", 10]\n[\",\", 3]\n[\"fox\", 2]\n[\"jumps\", 1]\n";

class tfree : public ::testing::Test {
 protected:
  std::shared_ptr<LanguageModel> make(const std::string& more = "", const std::string& words = "") {
    scratch_.write("dictionary.jsonl", kDictionary + words);
    return make_model(kSettings + more, 7, scratch_.path().string());
  }
  static TfreeDecoder& decoder_of(LanguageModel& model) { return dynamic_cast<TfreeDecoder&>(model.decoder()); }

  ScratchFolder scratch_;
};

std::vector<double> probabilities_of(const std::vector<float>& logarithms) {
  std::vector<double> result;
  for (const float value : logarithms) result.push_back(std::exp(static_cast<double>(value)));
  return result;
}

std::string word_of(const std::vector<int32_t>& ids) { return TfreeSegmenter::word_of_ids(ids.data(), ids.size()); }

// A document as bits: each word by its index or by the escape and its bytes, at the end the word that ends documents.
std::string code(LanguageModel& model, const std::string& text, double& bits) {
  auto& decoder = dynamic_cast<TfreeDecoder&>(model.decoder());
  ArithmeticEncoder coder;
  const Positions positions = model.segmenter().segment(text, DocumentPart::kStart);
  StreamState state = model.start();
  const auto put = [&](const Frequencies& frequencies, size_t symbol) {
    coder.encode(frequencies, symbol);
    bits += frequencies.bits(symbol);
  };
  for (size_t i = 0; i <= positions.size(); ++i) {
    const std::string word = i < positions.size() ? word_of(positions.ids_of(i)) : "<|endoftext|>";
    const Frequencies choice(probabilities_of(decoder.log_probabilities(state.newest_D)));
    const int64_t index = decoder.dictionary().find(word);
    put(choice, index >= 0 ? static_cast<size_t>(index) : decoder.dictionary().size());
    if (index < 0) {
      decoder.byte_model()->set_logits(decoder.scores(state.newest_D));
      for (size_t b = 0; b <= word.size(); ++b) {
        const Frequencies next(decoder.byte_model()->next(std::string_view(word).substr(0, b)));
        put(next, b < word.size() ? static_cast<uint8_t>(word[b]) : kWordEnd);
      }
    }
    if (i < positions.size()) model.read_position(state, positions.ids_of(i));
  }
  return coder.finish();
}

std::string decode(LanguageModel& model, const std::string& coded) {
  auto& decoder = dynamic_cast<TfreeDecoder&>(model.decoder());
  ArithmeticDecoder coder(coded);
  StreamState state = model.start();
  std::string text;
  for (int guard = 0; guard < 100000; ++guard) {
    const Frequencies choice(probabilities_of(decoder.log_probabilities(state.newest_D)));
    const size_t index = coder.decode(choice);
    std::string word;
    if (index < decoder.dictionary().size()) {
      word = decoder.dictionary().word(index);
    } else {
      decoder.byte_model()->set_logits(decoder.scores(state.newest_D));
      while (true) {
        const size_t symbol = coder.decode(Frequencies(decoder.byte_model()->next(word)));
        if (symbol == kWordEnd) break;
        word.push_back(static_cast<char>(symbol));
      }
    }
    if (word == "<|endoftext|>") break;
    const std::vector<int32_t> ids = TfreeSegmenter::ids_of_word(word);
    text += model.bytes_of(state, ids);
    model.read_position(state, ids);
  }
  return text;
}

// A few kB of words inside and outside the dictionary, blanks, line feeds, other scripts, bytes that are no UTF-8.
std::string hard_text() {
  std::string text = "the quick fox jumps, the dog";
  Random random(3);
  const std::vector<std::string> parts = {" the",
                                          " quick",
                                          " dog",
                                          ",",
                                          "\n\n",
                                          "    ",
                                          " zebra",
                                          " Stra\xC3\x9F"
                                          "e",
                                          "\xE6\xBC\xA2\xE5\xAD\x97",
                                          "\xFF\xFE",
                                          " <|ws|>",
                                          "42",
                                          " caf\xC3\xA9!"};
  while (text.size() < 3000) text += parts[random.below(parts.size())];
  return text;
}

TEST_F(tfree, likelihood_codes_a_text_that_comes_back) {
  const std::shared_ptr<LanguageModel> model = make();
  const std::string text = hard_text();
  double bits = 0;
  const std::string coded = code(*model, text, bits);
  EXPECT_NEAR(static_cast<double>(coded.size()) * 8, bits, 64) << "the coder wastes bits";
  EXPECT_TRUE(decode(*model, coded) == text);
  // The bits are those that the evaluation reports, up to the rounding of frequencies.
  const PositionNats scored =
      score_positions(*model, text, {.window_bytes = 1 << 14, .batch_bytes = 1 << 14, .stretch_bytes = 1 << 20});
  double nats = scored.end_nats;
  for (const double n : scored.nats) nats += n;
  EXPECT_NEAR(bits, nats / std::numbers::ln2, 0.01 * bits);
}

TEST_F(tfree, probabilities_sum_to_one_and_agree_with_the_nats) {
  for (const char* loss : {"multi-label", "dictionary"}) {
    const std::shared_ptr<LanguageModel> model = make(std::string("[decoder]\nloss = '") + loss + "'\n");
    TfreeDecoder& decoder = decoder_of(*model);
    torch::NoGradGuard no_grad;
    StreamState state = model->start();
    const std::vector<float> logarithms = decoder.log_probabilities(state.newest_D);
    ASSERT_EQ(logarithms.size(), decoder.dictionary().size() + 1);
    double sum = 0;
    for (const double p : probabilities_of(logarithms)) sum += p;
    EXPECT_NEAR(sum, 1, 1e-5);
    for (size_t k = 1; k < decoder.dictionary().size(); ++k) {
      const std::string word(decoder.dictionary().word(k));
      const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = word, .ends_document = false}});
      const at::Tensor nats = model->nats(batch, {});
      EXPECT_NEAR(nats[0].item<float>(), -logarithms[k], 1e-4) << word;
    }
    // Outside the dictionary: the escape and the bytes.
    const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = "zebra", .ends_document = false}});
    const double spelled = decoder.spelling_log_probability("zebra", decoder.scores(state.newest_D));
    EXPECT_NEAR(model->nats(batch, {})[0].item<float>(), -static_cast<double>(logarithms.back()) - spelled, 1e-3);
  }
}

TEST_F(tfree, ends_documents_and_knows_their_cost) {
  const std::shared_ptr<LanguageModel> model = make();
  const PositionNats scored = score_positions(*model, "the dog", {});
  EXPECT_GT(scored.end_nats, 0);
}

// Words of the dictionary and others in any order, so that no choice is certain.
std::string mixed_words(size_t count, uint64_t seed) {
  static const std::vector<std::string> words = {"the", "the", "the", "quick", "dog", "dog", "fox", "zebra"};
  Random random(seed);
  std::string text = "the";
  for (size_t i = 1; i < count; ++i) text += " " + words[random.below(words.size())];
  return text;
}

TEST_F(tfree, multi_label_loss_fits_the_calibration_and_changes_nothing_else) {
  const std::shared_ptr<LanguageModel> model = make();
  TfreeDecoder& decoder = decoder_of(*model);
  const std::string text = mixed_words(250, 5);
  const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = text, .ends_document = false}});
  auto parameters = model->named_parameters();
  const auto nats = [&] {
    const torch::NoGradGuard no_grad;
    return model->nats(batch, {}).sum().item<double>();
  };
  const auto gradients_of = [&] {
    std::vector<at::Tensor> gradients;
    model->zero_grad();
    const at::Tensor loss = model->training_loss(batch, {}).rows_N;
    loss.sum().backward();
    for (const auto& parameter : parameters) {
      if (parameter.key().starts_with("decoder.escape") || parameter.key().starts_with("decoder.calibration")) continue;
      gradients.push_back(parameter.value().grad().clone());
    }
    return gradients;
  };
  const double before = nats();
  const std::vector<at::Tensor> without = gradients_of();
  EXPECT_EQ(nats(), before) << "only steps of a training teach";
  decoder.begin_step(1);
  const std::vector<at::Tensor> with = gradients_of();
  for (size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(at::equal(with[i], without[i])) << i;
  EXPECT_GT(parameters["decoder.escape.weight"].grad().abs().max().item<float>(), 0);

  const double fitted = nats();
  EXPECT_LT(fitted, 0.9 * before);
  // Shifting any number of the calibration makes the batch more expensive.
  const torch::NoGradGuard no_grad;
  for (const char* name : {"decoder.calibration.weight", "decoder.escape.bias"}) {
    at::Tensor numbers = parameters[name];
    for (int64_t i = 0; i < numbers.numel(); ++i) {
      const at::Tensor kept = numbers.clone();
      for (const float shift : {-0.05F, 0.05F}) {
        numbers[i] += shift;
        EXPECT_GT(nats(), fitted) << name << " " << i << " " << shift;
        numbers.copy_(kept);
      }
    }
  }
  EXPECT_FALSE(decoder.trains_on_likelihood());
}

TEST_F(tfree, the_optimizer_leaves_the_fitted_calibration_alone) {
  const std::shared_ptr<LanguageModel> model = make();
  EXPECT_EQ(model->learning_rate_factor("decoder.calibration.weight"), 0);
  EXPECT_EQ(model->learning_rate_factor("decoder.escape.bias"), 0);
  EXPECT_EQ(model->learning_rate_factor("decoder.escape.weight"), 1);
  EXPECT_EQ(make("[decoder]\nloss = 'dictionary'\n")->learning_rate_factor("decoder.calibration.weight"), 1);
}

TEST_F(tfree, words_that_the_counted_text_holds_once_teach_how_often_new_words_come) {
  // No word of the text is unknown, but every third one was counted once.
  std::string words, text = "the";
  for (int i = 0; i < 40; ++i)
    words += "[\"once" + std::string(1 + i / 26, static_cast<char>('a' + i % 26)) + "\", 1]\n";
  for (int i = 0; i < 40; ++i) text += " dog the once" + std::string(1 + i / 26, static_cast<char>('a' + i % 26));
  const std::shared_ptr<LanguageModel> model = make("", "[\"an\", 200]\n" + words);
  TfreeDecoder& decoder = decoder_of(*model);
  const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = text, .ends_document = false}});
  decoder.begin_step(1);
  (void)model->training_loss(batch, {});
  const auto mean_escape = [&](LanguageModel& of) {
    const Positions positions = of.segmenter().segment(text, DocumentPart::kStart);
    StreamState state = of.start();
    double sum = 0;
    for (size_t i = 0; i < positions.size(); ++i) {
      sum += std::exp(decoder_of(of).log_probabilities(state.newest_D).back());
      of.read_position(state, positions.ids_of(i));
    }
    return sum / static_cast<double>(positions.size());
  };
  EXPECT_NEAR(mean_escape(*model), 40.0 / 121, 0.02);
  // A list, in which every word counts 1, says nothing of the kind.
  scratch_.write("list.jsonl", "[\"<|endoftext|>\", 1]\n[\"the\", 1]\n[\"dog\", 1]\n" + words);
  const std::shared_ptr<LanguageModel> from_list = make("[decoder]\ndictionary = 'list.jsonl'\n");
  decoder_of(*from_list).begin_step(1);
  (void)from_list->training_loss(batch, {});
  EXPECT_LT(mean_escape(*from_list), 0.02);
}

TEST_F(tfree, words_counted_once_teach_the_escape_of_the_dictionary_loss_in_every_second_step) {
  const std::shared_ptr<LanguageModel> model = make("[decoder]\nloss = \"dictionary\"\n");
  TfreeDecoder& decoder = decoder_of(*model);
  const torch::NoGradGuard no_grad;
  const PositionBatch batch =
      make_batch(model->segmenter(), {{.bytes = "the dog jumps", .ends_document = false}});  // jumps: counted once
  const auto loss_at = [&](int64_t step) {
    decoder.begin_step(step);
    return model->training_loss(batch, {}).rows_N;
  };
  const at::Tensor as_escape_N = loss_at(1), as_word_N = loss_at(2);
  StreamState state = model->start();
  const Positions read = model->segmenter().segment("the dog", DocumentPart::kStart);
  for (size_t i = 0; i < read.size(); ++i) model->read_position(state, read.ids_of(i));
  const std::vector<float> logarithms = decoder.log_probabilities(state.newest_D);
  const auto row = static_cast<int64_t>(read.size());
  const auto jumps = static_cast<size_t>(decoder.dictionary().find("jumps"));
  EXPECT_NEAR(as_escape_N[row].item<float>(), -logarithms.back(), 1e-4);
  EXPECT_NEAR(as_word_N[row].item<float>(), -logarithms.at(jumps), 1e-4);
  EXPECT_TRUE(at::equal(as_escape_N.slice(0, 0, row), as_word_N.slice(0, 0, row)));
  // What is measured never depends on the step.
  decoder.begin_step(1);
  const double measured = score_positions(*model, "the dog jumps", {}).nats.at(static_cast<size_t>(row));
  EXPECT_NEAR(measured, -logarithms.at(jumps), 1e-4);
}

TEST_F(tfree, a_model_without_calibration_goes_on_with_one_that_begins_where_it_was) {
  const auto plain = make("[decoder]\ncalibrate = false\n");
  save_model(*plain, scratch_.path(), "");
  const auto calibrated = make();
  EXPECT_THAT(load_weights(*calibrated, scratch_.path()),
              ::testing::ElementsAre("decoder.calibration.weight", "decoder.escape.weight", "decoder.escape.bias"));
  PositionBatch batch = make_batch(plain->segmenter(), {{.bytes = "the quick fox jumps over Zebras"}});
  const at::Tensor expected = plain->nats(batch, {});
  EXPECT_TRUE(at::equal(calibrated->nats(batch, {}), expected));
  EXPECT_GT(expected.sum().item<float>(), 0);
  // The same tensors missing from a model that should have them are an error.
  save_model(*calibrated, scratch_.path(), "");
  const std::string with_calibration = read_file(scratch_ / "config.json");
  save_model(*plain, scratch_.path(), "");
  scratch_.write("config.json", with_calibration);
  EXPECT_THAT([&] { (void)load_weights(*calibrated, scratch_.path()); },
              ::testing::ThrowsMessage<InputError>(::testing::HasSubstr("decoder.calibration.weight")));
  // And so is anything else.
  save_model(*plain, scratch_.path(), "");
  const auto deeper = make("bias = true\n");
  EXPECT_THAT([&] { (void)load_weights(*deeper, scratch_.path()); },
              ::testing::ThrowsMessage<InputError>(::testing::HasSubstr("is missing")));
}

TEST_F(tfree, draws_weights_as_the_reference_does) {
  const std::string settings = R"(
[model]
family = "tfree"
[encoder]
vocabulary = 1024
ids_per_trigram = 4
init = "%"
[backbone]
kind = "transformer"
width = 64
layers = 3
heads = 4
hidden = 96
norm = "layer"
bias = true
)";
  scratch_.write("dictionary.jsonl", kDictionary);
  const auto deviations = [&](const std::string& scheme) {
    std::string toml = settings;
    toml.replace(toml.find('%'), 1, scheme);
    const auto model = make_model(toml, 7, scratch_.path().string());
    std::map<std::string, double> found;
    for (const auto& parameter : model->named_parameters()) {
      const at::Tensor& values = parameter.value();
      found[parameter.key()] = values.numel() > 1 ? values.std().item<double>() : 0;
      if (parameter.key().ends_with("layernorm.weight")) EXPECT_TRUE(at::equal(values, at::ones_like(values)));
    }
    // Biases: uniform within 1 / sqrt(fan in), here 64.
    EXPECT_NEAR(found["backbone.layers.1.self_attn.q_proj.bias"], 1 / std::sqrt(64.0) / std::sqrt(3.0), 0.02);
    EXPECT_EQ(found["backbone.layers.1.input_layernorm.bias"], 0);
    return found;
  };
  // h = 64, L = 3, f = 96, by the formulas of the specification, section 4.
  struct Expected {
    const char* scheme;
    double table, query, gate, attention_out, mlp_out;
  };
  for (const Expected& e : {Expected{"pythia", 0.0790569, 0.0790569, 0.0790569, 0.0833333, 0.0833333},
                            Expected{"xavier", 0.0428746, 0.125, 0.1118034, 0.125, 0.1118034},
                            Expected{"normal", 0.125, 0.125, 0.125, 0.125, 0.125}}) {
    std::map<std::string, double> found = deviations(e.scheme);
    EXPECT_NEAR(found["encoder.table.weight"], e.table, 0.02 * e.table) << e.scheme;
    EXPECT_NEAR(found["decoder.head.weight"], e.table, 0.02 * e.table) << e.scheme;
    EXPECT_NEAR(found["backbone.layers.2.self_attn.q_proj.weight"], e.query, 0.05 * e.query) << e.scheme;
    EXPECT_NEAR(found["backbone.layers.2.mlp.gate_proj.weight"], e.gate, 0.05 * e.gate) << e.scheme;
    EXPECT_NEAR(found["backbone.layers.2.self_attn.o_proj.weight"], e.attention_out, 0.05 * e.attention_out)
        << e.scheme;
    EXPECT_NEAR(found["backbone.layers.2.mlp.down_proj.weight"], e.mlp_out, 0.05 * e.mlp_out) << e.scheme;
    EXPECT_EQ(found["decoder.escape.weight"], 0) << e.scheme;
  }
  EXPECT_THAT([&] { (void)deviations("he"); }, ::testing::ThrowsMessage<InputError>(::testing::HasSubstr("pythia")));
}

TEST_F(tfree, shows_the_hashed_ids_of_a_word) {
  const auto model = make("[decoder]\n", "");
  const std::string text = "the dog";
  const Positions positions = model->segmenter().segment(text, DocumentPart::kStart);
  const std::vector<TextPart> parts = report_positions(*model, text, positions, nullptr);
  ASSERT_EQ(parts.size(), 2u);
  // The rows of " do", "dog" and "og " by the formula of the specification, section 2.2, in another language.
  EXPECT_THAT(parts[1].ids, ::testing::ElementsAre(54, 119, 163, 224, 96, 103, 110, 161, 23, 115, 123, 214));
}

TEST_F(tfree, writes_words_that_no_dictionary_holds) {
  // Words whose trigrams go together in other ways, too.
  const std::shared_ptr<LanguageModel> model = make("", R"(["singing", 1]
["singer", 1]
["jumper", 1]
["jumping", 1]
["runner", 1]
["running", 1]
["hunger", 1]
)");
  torch::NoGradGuard no_grad;
  model->named_parameters()["decoder.escape.bias"].fill_(20.0F);  // always something else
  const std::string text = generate(*model, {"the"}, {.max_bytes = 60, .sampling = {.seed = 4}}).texts[0].text;
  const Positions positions = model->segmenter().segment("the" + text, DocumentPart::kStart);
  size_t unknown = 0;
  for (size_t i = 1; i < positions.size(); ++i) {
    unknown += decoder_of(*model).dictionary().find(word_of(positions.ids_of(i))) < 0 ? 1 : 0;
  }
  EXPECT_GE(unknown, 1U) << text;
}

TEST_F(tfree, offers_the_words_of_the_prompt) {
  const std::shared_ptr<LanguageModel> model = make("[decoder]\nvariant = 'current'\n");
  StreamState state = model->start();
  model->read(state, "the zebra saw the zebra and a gnu");
  EXPECT_EQ(state.decoder.words, (std::vector<std::string>{"saw", "zebra", "and", "a", "gnu"}));
  struct Count final : Chooser {
    size_t candidates = 0;
    int64_t choose(std::span<float> scores) override {
      candidates = scores.size();
      return static_cast<int64_t>(scores.size()) - 1;
    }
  } last;
  const NextPosition next = model->choose(state, last);
  // The dictionary has the special words besides those in its file or not; the prompt's follow.
  EXPECT_EQ(last.candidates, decoder_of(*model).dictionary().size() + 5);
  EXPECT_EQ(word_of(next.ids), "gnu");
}

TEST_F(tfree, reads_later_parts_of_documents) {
  const std::shared_ptr<LanguageModel> model = make();
  const Segmenter& segmenter = model->segmenter();
  EXPECT_EQ(segmenter.segment(" the dog", DocumentPart::kLater).size(), 2U);
  EXPECT_EQ(segmenter.segment("the dog", DocumentPart::kLater).size(), 3U);         // begins with the mark for no blank
  const Positions marks = segmenter.segment("\xCC\x81 dog", DocumentPart::kLater);  // a combining mark
  EXPECT_EQ(marks.ends.back(), 6U);
}

TEST(arithmetic_coder, gives_back_symbols_of_any_probability) {
  Random random(9);
  std::vector<std::vector<double>> models;
  std::vector<size_t> symbols;
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> p(1 + random.below(300));
    double sum = 0;
    for (double& value : p) sum += value = std::exp(10 * random.normal());
    for (double& value : p) value /= sum;
    symbols.push_back(random.below(p.size()));
    models.push_back(std::move(p));
  }
  ArithmeticEncoder encoder;
  double bits = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    const Frequencies frequencies(models[i]);
    encoder.encode(frequencies, symbols[i]);
    bits += frequencies.bits(symbols[i]);
  }
  const std::string coded = encoder.finish();
  EXPECT_NEAR(static_cast<double>(coded.size()) * 8, bits, 64);
  ArithmeticDecoder decoder(coded);
  for (size_t i = 0; i < symbols.size(); ++i) ASSERT_EQ(decoder.decode(Frequencies(models[i])), symbols[i]) << i;
}

}  // namespace
}  // namespace verbatim
