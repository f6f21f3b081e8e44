#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "blocks/autoencoder_size.h"
#include "evaluate/likelihood.h"
#include "evaluate/reconstruction.h"
#include "families/tokun/block_bytes.h"
#include "families/tokun/block_symbols.h"
#include "families/tokun/published_network.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "generate/generate.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "text/utf8.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_model;

// The generator of the golden files' weights (their README).
class GoldenWeights {
 public:
  // In place, in the order of the values; offset + scale * v.
  void fill(at::Tensor tensor, double scale, double offset = 0) {
    tensor = tensor.contiguous();
    auto* values = tensor.data_ptr<double>();
    for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = offset + scale * next();
  }
  // Kernels are written [in, out] there.
  void fill_kernel(const at::Tensor& weight_EI, double scale) {
    at::Tensor kernel_IE = at::empty({weight_EI.size(1), weight_EI.size(0)}, at::kDouble);
    fill(kernel_IE, scale);
    weight_EI.copy_(kernel_IE.t());
  }
  void skip(int64_t count) {
    for (int64_t i = 0; i < count; ++i) (void)next();
  }

 private:
  double next() {
    state_ = 6364136223846793005U * state_ + 1442695040888963407U;
    return static_cast<double>(state_ >> 33) / 2147483648.0 * 2 - 1;
  }
  uint64_t state_ = 12345;
};

TokunEncoderSettings published(const std::string& chain, int64_t width) {
  TokunEncoderSettings settings;
  settings.network = "published";
  settings.chain = chain;
  settings.latent = width;
  return settings;
}

constexpr int64_t kGoldenWidth = 6;

void set_golden_weights(PublishedEncoder& encoder, PublishedDecoder& decoder, bool normalizes) {
  torch::NoGradGuard no_grad;
  GoldenWeights weights;
  const auto norm = [&](torch::nn::Module& level) {
    if (!normalizes) return weights.skip(2 * kGoldenWidth);
    auto parameters = level.named_parameters();
    weights.fill(parameters["norm.weight"], 0.1, 1);
    weights.fill(parameters["norm.bias"], 0.1);
  };
  weights.fill(encoder.named_parameters()["table"], 1);
  for (const auto& level : encoder.named_children()) {
    norm(*level.value());
    auto parameters = level.value()->named_parameters();
    weights.fill(parameters["places"], 0.5);
    weights.fill_kernel(parameters["dense.weight"], 0.5);
    weights.fill(parameters["dense.bias"], 0.1);
  }
  for (const auto& level : decoder.named_children()) {
    auto parameters = level.value()->named_parameters();
    if (level.key() == "head") {
      weights.fill_kernel(parameters["weight"], 0.5);
      weights.fill(parameters["bias"], 0.1);
      continue;
    }
    weights.fill_kernel(parameters["dense.weight"], 0.5);
    weights.fill(parameters["dense.bias"], 0.1);
    weights.fill(parameters["places"], 0.5);
    norm(*level.value());
  }
}

void expect_golden_pass(const json& row) {
  torch::NoGradGuard no_grad;
  std::string chain;
  for (const json& factor : row["groups"]) chain += (chain.empty() ? "" : "x") + std::to_string(factor.get<int>());
  const std::string where = row.dump().substr(0, 130);
  TokunEncoderSettings settings = published(chain, kGoldenWidth);
  settings.attention = row["attention"];
  settings.normalization = row["normalization"];
  settings.mirrored = row["decoder_order"] == "mirrored";
  at::Generator generator = at::detail::createCPUGenerator(1);
  PublishedEncoder encoder(settings, generator);
  PublishedDecoder decoder(settings, generator);
  encoder.to(at::kDouble);
  decoder.to(at::kDouble);
  set_golden_weights(encoder, decoder, settings.normalization);

  const auto block_bytes = static_cast<int64_t>(parse_chain(chain).block_bytes());
  const at::Tensor bytes_NT = at::tensor(row["bytes"].get<std::vector<int64_t>>()).view({-1, block_bytes});
  const std::vector<at::Tensor> levels = encoder.levels_of(bytes_NT, at::kDouble);
  ASSERT_EQ(levels.size(), row["encoder_levels"].size()) << where;
  for (size_t i = 0; i < levels.size(); ++i) {
    const json& expected = row["encoder_levels"][i];
    ASSERT_EQ(levels[i].size(0), static_cast<int64_t>(expected.size())) << where;
    for (size_t r = 0; r < expected.size(); ++r) {
      for (size_t c = 0; c < expected[r].size(); ++c) {
        EXPECT_NEAR(levels[i][r][c].item<double>(), expected[r][c].get<double>(), 1e-6) << where << " level " << i;
      }
    }
  }
  const BlockLogits heads = decoder.forward(levels.back(), at::kDouble);
  ASSERT_EQ(heads.bytes.size(), 1U);
  const at::Tensor chances = at::softmax(heads.bytes[0].logits_RV, 1);
  const auto best = row["argmax"].get<std::vector<int64_t>>();
  const auto of_target = row["prob_of_target"].get<std::vector<double>>();
  double nats = 0;
  for (size_t i = 0; i < best.size(); ++i) {
    const int64_t target = row["bytes"][i];
    EXPECT_EQ(chances[i].argmax().item<int64_t>(), best[i]) << where;
    EXPECT_NEAR(chances[i][target].item<double>(), of_target[i], 1e-6) << where;
    nats -= std::log(chances[i][target].item<double>());
  }
  EXPECT_NEAR(nats / static_cast<double>(best.size()), row["mean_cross_entropy"].get<double>(), 1e-6) << where;
  EXPECT_NEAR(nats_of_blocks(heads, bytes_NT).sum().item<double>(), nats, 1e-6) << where;
  // The same in float32, through the kernels that models use.
  encoder.to(at::kFloat);
  decoder.to(at::kFloat);
  const BlockLogits rounded = decoder.forward(encoder.levels_of(bytes_NT, at::kFloat).back(), at::kFloat);
  EXPECT_NEAR(nats_of_blocks(rounded, bytes_NT).sum().item<double>(), nats, 1e-4 * nats) << where;
}

void expect_golden_passes(const std::filesystem::path& file, size_t passes) {
  std::ifstream lines(file);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) expect_golden_pass(json::parse(line));
  EXPECT_EQ(count, passes);
}

TEST(tokun, passes_forward_as_published) {
  expect_golden_passes(std::filesystem::path(VERBATIM_TEST_DATA) / "tokun/forward_tiny.jsonl", 7);
}

TEST(tokun, passes_forward_as_all_goldens) {
  const auto file = std::filesystem::path(VERBATIM_SHARED) / "golden/tokun/forward_tiny.jsonl";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is absent";
  expect_golden_passes(file, 18);
}

int64_t count(const torch::nn::Module& module) {
  int64_t total = 0;
  for (const at::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

TEST(tokun, has_the_published_number_of_parameters) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  for (const char* chain : {"4", "4x4", "16", "4x4x4", "4x16", "16x4", "64", "4x64"}) {
    for (const bool later : {false, true}) {
      TokunEncoderSettings settings = published(chain, 256);
      settings.places = !later;
      settings.normalization_gain = !later;
      settings.head = later ? "bits" : "softmax";
      const AutoencoderParameters expected = count_parameters(
          {.chain = parse_chain(chain), .outputs = later ? 8U : 256U, .normalize_gain = !later, .place_table = !later});
      EXPECT_EQ(count(*make_block_encoder(settings, generator)), static_cast<int64_t>(expected.encoder())) << chain;
      EXPECT_EQ(count(*make_block_decoder(settings, TokunDecoderSettings(), generator)),
                static_cast<int64_t>(expected.decoder()))
          << chain;
    }
  }
  // As printed by the original.
  const TokunEncoderSettings settings = published("4x16", 256);
  EXPECT_EQ(count(*make_block_encoder(settings, generator)) +
                count(*make_block_decoder(settings, TokunDecoderSettings(), generator)),
            2770688);
}

TEST(tokun, is_no_larger_than_the_published_one) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  // As in configs/: tokun-small, tokun-4x4x4-small, tokun-robust, tokun-known.
  TokunEncoderSettings small, three_levels, robust, known;
  small.width = 128;
  small.join_layer = false;
  three_levels.chain = "4x4x4";
  three_levels.width = 184;
  robust.width = 128;
  robust.hidden = 384;
  robust.join_layer = false;
  known.width = 128;
  known.characters = 8448;
  known.character_width = 32;
  known.join_layer = false;
  TokunDecoderSettings mixing, beside;
  mixing.character_hidden = 384;
  mixing.mixing = 2;
  beside.character_hidden = 128;
  beside.mixing = 2;
  beside.reach = 1;
  beside.context = 4;
  beside.context_hidden = 320;
  const std::vector<std::pair<TokunEncoderSettings, TokunDecoderSettings>> all = {
      {small, TokunDecoderSettings()}, {three_levels, TokunDecoderSettings()}, {robust, mixing}, {known, beside}};
  for (const auto& [settings, decoder_settings] : all) {
    const auto encoder = make_block_encoder(settings, generator);
    const auto decoder = make_block_decoder(settings, decoder_settings, generator, encoder);
    EXPECT_LE(count(*encoder) + count(*decoder),
              static_cast<int64_t>(count_parameters({.chain = parse_chain(settings.chain)}).total()))
        << settings.chain << " of width " << settings.width;
    // At most 0.95 M multiplications for a character (specification, section 8.4 E).
    EXPECT_LE((encoder->multiplications() + decoder->multiplications()) / 16, 950e3)
        << settings.chain << " of width " << settings.width;
  }
}

constexpr const char* kAutoencoder =
    "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 32\nwidth = 24\n[backbone]\nkind = 'none'\n";

TEST(tokun, shares_the_work_for_equal_characters) {
  // One level of 16 bytes reads characters in their places, two levels read each different character once: the batch
  // of one text equals the batches of its blocks.
  torch::NoGradGuard no_grad;
  for (const char* chain : {"4x4", "16"}) {
    const auto model =
        make_model(std::string("[model]\nfamily = 'tokun'\n[encoder]\nlatent = 32\nwidth = 24\nchain = '") + chain +
                   "'\n[backbone]\nkind = 'none'\n");
    const std::string text = "aaaabbbb \xF0\x9F\x91\x8D\xFF a";
    const BlockVectors all = block_vectors(*model, {text}, 100);
    ASSERT_EQ(all.texts.size(), 4U);
    for (size_t i = 0; i < all.texts.size(); ++i) {
      const BlockVectors alone = block_vectors(*model, {all.texts[i]}, 1);
      for (int64_t d = 0; d < all.width; ++d) {
        EXPECT_NEAR(alone.vectors[d], all.vectors[i * all.width + d], 1e-5) << chain << " block " << i;
      }
      double square = 0;
      for (int64_t d = 0; d < all.width; ++d) square += std::pow(all.vectors[i * all.width + d], 2);
      EXPECT_NEAR(square / static_cast<double>(all.width), 1, 1e-3) << "a vector of another length";
    }
  }
}

// Code points of Unicode's ideographs, each `times` times.
std::string many_characters(int32_t first, int32_t count, int32_t times) {
  std::string text;
  for (int32_t time = 0; time < times; ++time) {
    for (int32_t unit = first; unit < first + count; ++unit) append_utf8(text, static_cast<char32_t>(unit));
  }
  return text;
}

TEST(tokun, looks_up_what_it_would_compute) {
  torch::NoGradGuard no_grad;
  for (const bool join_layer : {true, false}) {
    const auto model = make_model(
        std::string("[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 32\nwidth = 24\njoin_layer = ") +
        (join_layer ? "true" : "false") + "\n[backbone]\nkind = 'none'\n");
    const std::vector<std::string> texts = {
        "some text, \xD0\xBC\xD0\xBE\xD1\x81\xD1\x82 \xFF and " + many_characters(0x4E00, 300, 1),
        many_characters(0x4E00, 5000, 4),   // many, but each comes again
        many_characters(0x6000, 5000, 4),   // more than there is room for with those before
        many_characters(0x20000, 9000, 1),  // nothing comes again: computed
        "and again the first: " + many_characters(0x4E00, 300, 1)};
    for (const std::string& text : texts) {
      const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = text}});
      const at::Tensor looked_up = model->encoder().encode(batch, at::kFloat).vectors_ND;
      const at::Tensor rounded = model->encoder().encode(batch, at::kBFloat16).vectors_ND;
      at::AutoGradMode with_gradients(true);
      const at::Tensor computed = model->encoder().encode(batch, at::kFloat).vectors_ND;
      EXPECT_LT((looked_up - computed).abs().max().item<float>(), 1e-5F);
      // Four rows, each rounded to 8 bits.
      EXPECT_LT((rounded - computed).abs().max().item<float>(), 0.05F);
      EXPECT_LT((rounded - computed).square().mean().item<float>(), 3e-5F);
    }
    const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = texts.front()}});
    const at::Tensor before = model->encoder().encode(batch, at::kFloat).vectors_ND;
    // Other weights, other sums.
    model->named_parameters()["encoder.network.table"].mul_(-1.5);
    const at::Tensor changed = model->encoder().encode(batch, at::kFloat).vectors_ND;
    EXPECT_GT((changed - before).abs().max().item<float>(), 0.1F);
  }
}

TEST(tokun, gives_the_most_likely_bytes_back_in_stretches) {
  torch::NoGradGuard no_grad;
  for (const char* chain : {"4x8", "4x4x4", "32"}) {
    TokunEncoderSettings settings;
    settings.chain = chain;
    settings.latent = 32;
    settings.width = 24;
    at::Generator generator = at::detail::createCPUGenerator(3);
    const auto decoder = make_block_decoder(settings, TokunDecoderSettings(), generator);
    const auto block_bytes = static_cast<int64_t>(settings.block_options().chain.block_bytes());
    const at::Tensor z_NL = at::randn({150, 32}, generator, at::TensorOptions(at::kFloat));
    at::Tensor expected_NT = at::zeros({150, block_bytes}, at::kLong);
    for (const ByteLogits& head : decoder->forward(z_NL, at::kFloat).bytes) {
      expected_NT.view({-1}).slice(0, head.first, 150 * block_bytes, head.stride).copy_(head.logits_RV.argmax(1));
    }
    EXPECT_TRUE(at::equal(decoder->most_likely(z_NL, at::kFloat, block_bytes).to(at::kLong), expected_NT)) << chain;
  }
}

TEST(tokun, lets_the_characters_of_one_block_alone_see_each_other) {
  torch::NoGradGuard no_grad;
  for (const int64_t reach : {0, 1, 20}) {
    TokunEncoderSettings settings;
    settings.chain = "4x8";
    settings.latent = 32;
    settings.width = 24;
    TokunDecoderSettings decoder_settings;
    decoder_settings.depth = 2;
    decoder_settings.hidden = 40;
    decoder_settings.mixing = 2;
    decoder_settings.heads = 3;
    decoder_settings.reach = reach;
    at::Generator generator = at::detail::createCPUGenerator(3);
    const auto decoder = make_block_decoder(settings, decoder_settings, generator);
    const at::Tensor z_NL = at::randn({5, 32}, generator, at::TensorOptions(at::kFloat));
    const std::vector<ByteLogits> together = decoder->forward(z_NL, at::kFloat).bytes;
    for (int64_t block = 0; block < 5; ++block) {
      const std::vector<ByteLogits> alone = decoder->forward(z_NL.slice(0, block, block + 1), at::kFloat).bytes;
      for (size_t head = 0; head < together.size(); ++head) {
        const at::Tensor difference =
            together[head].logits_RV.slice(0, 8 * block, 8 * block + 8) - alone[head].logits_RV;
        EXPECT_LT(difference.abs().max().item<float>(), 1e-4F) << "block " << block;
      }
    }
    // And the weights of its layers do something.
    const at::Tensor before = together[2].logits_RV.clone();
    for (auto& parameter : decoder->named_parameters()) {
      if (parameter.key().starts_with("mixed1.down")) parameter.value().mul_(-20);
    }
    EXPECT_GT((decoder->forward(z_NL, at::kFloat).bytes[2].logits_RV - before).abs().max().item<float>(), 0.01F);
  }
}

TEST(tokun, writes_many_blocks_as_it_writes_each_alone) {
  torch::NoGradGuard no_grad;
  const auto model = make_model(
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 16\nwidth = 16\n[decoder]\nkind = 'bytes'\nwidth "
      "= "
      "16\nlayers = 1\nheads = 2\n[backbone]\nkind = 'none'\n");
  auto& decoder = dynamic_cast<TokunDecoder&>(model->decoder());
  at::Generator generator = at::detail::createCPUGenerator(7);
  const at::Tensor z_NL = at::randn({300, 16}, generator, at::TensorOptions(at::kFloat));
  const at::Tensor together = decoder.reconstruct(z_NL);
  ASSERT_EQ(together.size(0), 300);
  int64_t texts = 0;
  for (int64_t block = 0; block < 300; ++block) {
    EXPECT_TRUE(at::equal(decoder.reconstruct(z_NL.slice(0, block, block + 1))[0], together[block])) << block;
    texts += together[block].any().item<bool>() ? 1 : 0;
  }
  EXPECT_GT(texts, 0);
}

TEST(tokun, disturbs_vectors_in_training_alone) {
  torch::NoGradGuard no_grad;
  const auto model = make_model(
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 32\nwidth = 24\nnoise = 1.0\nnoisy_share = 1.0\n"
      "[backbone]\nkind = 'none'\n");
  PositionBatch batch = make_batch(model->segmenter(), {{.bytes = std::string(4000, 'a'), .starts_document = false}});
  const auto vectors = [&] { return model->encoder().encode(batch, at::kFloat).vectors_ND; };
  const at::Tensor clean = vectors();
  EXPECT_TRUE(at::equal(clean, vectors()));
  model->train();
  const at::Tensor noisy = vectors();
  EXPECT_TRUE(at::equal(noisy, vectors())) << "the same batch must get the same noise, or runs cannot be resumed";
  // Strengths from 0 to 1, alike often: mean square 1/3.
  EXPECT_NEAR((noisy - clean).square().mean().item<double>(), 1.0 / 3, 0.03);
  batch.natural_rows = 100;
  const at::Tensor partly = vectors();
  // (Looked up and computed: rounded otherwise.)
  EXPECT_LT((partly.slice(0, 100) - clean.slice(0, 100)).abs().max().item<float>(), 1e-5F);
  EXPECT_FALSE(at::equal(partly.slice(0, 0, 100), clean.slice(0, 0, 100)));
}

TEST(tokun, measures_what_comes_back) {
  const auto model = make_model(kAutoencoder);
  const std::string text = "abc \xD0\xBC\xD0\xBE\xD1\x81\xD1\x82 xyz";
  const ReconstructionReport report = measure_reconstruction(*model, {text}, {.most_examples = 2, .check = true});
  EXPECT_EQ(report.bytes, text.size());
  EXPECT_EQ(report.blocks, 3U);
  EXPECT_EQ(report.all.character.all, 12U);
  EXPECT_EQ(report.all.byte.all, 48U);
  // Three zeros in each of 8 ASCII characters, two in 4 Cyrillic ones.
  EXPECT_EQ(report.all.zero_byte.right, 8U * 3 + 4 * 2);
  EXPECT_EQ(report.characters[static_cast<size_t>(Script::kCyrillic)].all, 4U);
  ASSERT_EQ(report.wrong.size(), 2U) << "weights drawn at random give nothing back";
  EXPECT_EQ(report.wrong[0].text, "abc ");
  EXPECT_GT(report.nats, 0);
  // Twelve characters fill three blocks.
  EXPECT_EQ(report.padded_byte.all, 48U);
  EXPECT_EQ(report.padded_block.all, 3U);
  ASSERT_TRUE(report.checked.has_value());
  EXPECT_EQ(report.checked->all.character.all, 12U);
  EXPECT_EQ(report.checked->confirmed.all, 3U);
  EXPECT_EQ(report.checked->confirmed_right.all, report.checked->confirmed.right);
  EXPECT_EQ(report.checked->confirmed_right.right, report.checked->confirmed.right) << "confirmed, and another block";
  const ReconstructionReport shifted = measure_reconstruction(*model, {text}, {.shift = 3});
  EXPECT_EQ(shifted.blocks, 4U);
  EXPECT_THROW(measure_reconstruction(*model, std::vector<std::string_view>{""}, {}), InputError);
  EXPECT_THROW(measure_reconstruction(*make_model(testing::kTinyByte), {text}, {}), InputError);
}

TEST(tokun, keeps_blocks_behind_an_insertion_where_content_ends_them) {
  std::string text;
  Random random(4);
  while (text.size() < 8000) text.push_back(static_cast<char>('a' + random.below(26)));
  const std::string content =
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x16'\nlatent = 8\nwidth = 8\nborders = "
      "'content'\n[backbone]\nkind = "
      "'none'\n";
  const std::string fixed =
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x16'\nlatent = 8\nwidth = 8\n[backbone]\nkind = 'none'\n";
  EXPECT_GT(blocks_kept_after_insertion(*make_model(content), text, 50, 1), 0.99);
  // What stands in front of a random place: half of the text.
  EXPECT_NEAR(blocks_kept_after_insertion(*make_model(fixed), text, 200, 1), 0.5, 0.1);
  EXPECT_THROW((void)blocks_kept_after_insertion(*make_model(testing::kTinyByte), text, 1, 1), InputError);
}

TEST(tokun, says_what_an_autoencoder_cannot_do) {
  const auto model = make_model(kAutoencoder);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message([&] { (void)generate(*model, {""}, {}); }), HasSubstr("encoder.autoencoder"));
  EXPECT_THAT(message([&] { (void)score_positions(*model, "text", {}); }), HasSubstr("--suite reconstruction"));
  EXPECT_THAT(message([&] { (void)make_model("[model]\nfamily = 'byte'\n[backbone]\nkind = 'none'\n"); }),
              HasSubstr("family byte"));
  EXPECT_THAT(message([&] {
                (void)make_model("[model]\nfamily = 'tokun'\n[encoder]\nchain = '2x3'\n[backbone]\nkind = 'none'\n");
              }),
              HasSubstr("whole characters"));
}

TEST(tokun, replaces_what_is_no_text) {
  // 'A', a surrogate, a number above Unicode, a stray byte, a NUL of the text, padding, and what nobody reads.
  const std::vector<uint8_t> bytes = {0, 0,    0, 0x41, 0, 0, 0xD8, 0, 0, 0x11, 0x01, 0, 0, 0x11,
                                      0, 0xFF, 0, 0x11, 0, 0, 0,    0, 0, 0,    0,    0, 0, 0x42};
  const WrittenBlock block = read_written_block(bytes.data(), static_cast<int64_t>(bytes.size()));
  EXPECT_THAT(block.units, ElementsAre(0x41, 0xFFFD, 0xFFFD, 0xFFFD, 0x110000));
  EXPECT_EQ(block.replaced, 3);
}

// Samples from all candidates, however unlikely.
SamplingOptions every_candidate(uint64_t seed) {
  return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed};
}

TEST(tokun, writes_valid_text_whatever_its_weights_and_counts_what_it_replaced) {
  for (const char* kind : {"blocks", "bytes"}) {
    const auto model = make_model(
        std::string(
            "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 16\nwidth = 16\n[decoder]\nkind = '") +
        kind + "'\n[backbone]\nkind = 'transformer'\nwidth = 16\nlayers = 1\nheads = 2\n");
    int64_t replaced = 0;
    // One symbol in two hundred begins a byte outside of any character.
    for (uint64_t seed = 1; seed <= 5 || (replaced == 0 && seed < 50); ++seed) {
      const GenerateResult result = generate(*model, {"ab"}, {.max_bytes = 400, .sampling = every_candidate(seed)});
      const GeneratedText& text = result.texts.front();
      EXPECT_TRUE(is_valid_utf8(text.text)) << kind;
      size_t found = 0;
      for (size_t at = text.text.find("\xEF\xBF\xBD"); at != std::string::npos;
           at = text.text.find("\xEF\xBF\xBD", at + 3)) {
        ++found;
      }
      // The last block may be cut where the text is long enough; U+FFFD can be chosen, too.
      EXPECT_LE(static_cast<int64_t>(found), text.replaced + 1) << kind;
      replaced += text.replaced;
    }
    EXPECT_GT(replaced, 0) << kind << ": weights drawn at random write numbers that are no text";
  }
}

BlockOptions options_of(const std::string& chain, const std::string& borders) {
  TokunEncoderSettings settings;
  settings.chain = chain;
  settings.borders = borders;
  return settings.block_options();
}

TEST(block_symbols, spell_every_block_and_back) {
  std::string text =
      "Ein gr\xC3\xB6\xC3\x9F"
      "erer Text, \xE6\xB0\xB4\xE6\xB5\x81 \xF0\x9F\x91\x8D, broken \xE2\x82 and \xFF\xC0 ";
  text.push_back('\0');
  text += "end";
  for (const std::string chain : {"4", "4x4", "4x16"}) {
    for (const std::string borders : {"fixed", "content"}) {
      const BlockOptions options = options_of(chain, borders);
      const TokunSegmenter segmenter(options);
      const Positions positions = segmenter.segment(text, DocumentPart::kStart);
      std::string back;
      size_t ends = 0;
      for (size_t i = 0; i < positions.size(); ++i) {
        const std::vector<int32_t> units = positions.ids_of(i);
        const std::vector<int32_t> symbols = symbols_of_block(units, options);
        BlockSymbolReader reader(options);
        for (const int32_t symbol : symbols) {
          ASSERT_FALSE(reader.is_complete());
          ASSERT_TRUE(reader.allows(symbol)) << symbol;
          reader.read(symbol);
          ends += symbol == kEndOfBlock ? 1 : 0;
        }
        EXPECT_TRUE(reader.is_complete());
        EXPECT_EQ(reader.units(), units);
        back += segmenter.bytes_of(reader.units(), nullptr);
      }
      EXPECT_EQ(back, text);
      EXPECT_LE(ends, 1U) << "only the last block of a text needs an end of its own";
    }
  }
  EXPECT_THAT(symbols_of_block({}, options_of("4x4", "fixed")), ElementsAre(kEndOfDocument));
}

TEST(block_symbols, allow_what_makes_well_formed_characters) {
  const BlockOptions options = options_of("4x4", "fixed");
  // Every pair of bytes can begin a block if and only if some text of Unicode begins so.
  for (int32_t first = 0; first < 256; ++first) {
    BlockSymbolReader reader(options);
    if (!reader.allows(first)) continue;
    reader.read(first);
    for (int32_t second = 0; second < 256; ++second) {
      bool found = false;
      for (const char* rest : {"", "\x80", "\x80\x80"}) {
        const std::string text = std::string{static_cast<char>(first), static_cast<char>(second)} + rest;
        found = found || (is_valid_utf8(text) && text.find('\0') == std::string::npos);
      }
      if (second == 0) found = false;
      EXPECT_EQ(reader.allows(second), found || (first < 0x80 && second >= 0xC2 && second <= 0xF4))
          << first << " " << second;
    }
  }
}

// The probabilities of every possible block of one character, and of the end, of a model that writes symbol by symbol.
TEST(tokun, has_a_likelihood_that_sums_to_one) {
  torch::NoGradGuard no_grad;
  const auto model = make_model(
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4'\nlatent = 8\nwidth = 8\n[decoder]\nkind = 'bytes'\nwidth = 8\n"
      "layers = 1\nheads = 2\n[backbone]\nkind = 'transformer'\nwidth = 8\nlayers = 1\nheads = 2\n");
  const at::Tensor h_D = model->forward(make_batch(model->segmenter(), {{.bytes = "ab"}}), {})[2];
  std::vector<int32_t> units;
  for (int32_t unit = 1; unit <= 0x10FFFF; ++unit) {
    if (unit < 0xD800 || unit > 0xDFFF) units.push_back(unit);
  }
  units.push_back(static_cast<int32_t>(kEscape));
  for (int32_t byte = 0x80; byte <= 0xFF; ++byte) units.push_back(static_cast<int32_t>(kEscape) + byte);
  double total = 0;
  constexpr size_t kAtOnce = 1 << 15;
  for (size_t begin = 0; begin <= units.size(); begin += kAtOnce) {
    PositionBatch batch;
    const size_t end = std::min(begin + kAtOnce, units.size());
    batch.ids.assign(units.begin() + static_cast<std::ptrdiff_t>(begin),
                     units.begin() + static_cast<std::ptrdiff_t>(end));
    batch.id_offsets.resize(end - begin + 1);
    std::iota(batch.id_offsets.begin(), batch.id_offsets.end(), 0);
    batch.targets.resize(end - begin);
    std::iota(batch.targets.begin(), batch.targets.end(), 0);
    if (begin == 0) {
      batch.targets.push_back(kEndTarget);
      batch.id_offsets.push_back(batch.id_offsets.back());
    }
    const auto rows = static_cast<int64_t>(batch.targets.size());
    if (rows == 0) break;
    batch.offsets = {0, rows};
    const at::Tensor nats_N = model->decoder().nats(h_D.expand({rows, h_D.numel()}).contiguous(), batch);
    total += at::exp(-nats_N.to(at::kDouble)).sum().item<double>();
  }
  EXPECT_NEAR(total, 1, 1e-4);
}

TEST(tokun, starts_a_language_model_from_an_autoencoder) {
  const testing::ScratchFolder folder;
  const std::filesystem::path saved = folder / "autoencoder";
  std::filesystem::create_directories(saved);
  const auto autoencoder = make_model(kAutoencoder, 5);
  save_model(*autoencoder, saved, "");
  const std::string settings =
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 32\nwidth = 24\nfrozen = true\nautoencoder = '" +
      saved.string() + "'\n[backbone]\nkind = 'transformer'\nwidth = 16\nlayers = 1\nheads = 2\n";
  const auto model = make_model(settings, 6);
  auto theirs = autoencoder->named_parameters(), ours = model->named_parameters();
  size_t taken = 0;
  for (const auto& parameter : theirs) {
    ASSERT_TRUE(ours.contains(parameter.key())) << parameter.key();
    EXPECT_TRUE(at::equal(parameter.value(), ours[parameter.key()])) << parameter.key();
    EXPECT_FALSE(ours[parameter.key()].requires_grad()) << parameter.key();
    EXPECT_EQ(model->learning_rate_factor(parameter.key()), 0) << parameter.key();
    ++taken;
  }
  EXPECT_GT(taken, 20U);
  EXPECT_TRUE(ours["encoder.project.weight"].requires_grad());
  EXPECT_EQ(model->learning_rate_factor("decoder.project.weight"), 1);
  // The saved language model needs the autoencoder no more.
  const std::filesystem::path own = folder / "model";
  std::filesystem::create_directories(own);
  save_model(*model, own, "");
  std::filesystem::remove_all(saved);
  const auto loaded = load_model(own);
  EXPECT_TRUE(at::equal(loaded->named_parameters()["encoder.network.table"], ours["encoder.network.table"]));
}

}  // namespace
}  // namespace verbatim
