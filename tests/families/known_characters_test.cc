#include "families/tokun/known_characters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "base/scratch_folder.h"
#include "families/tokun/block_candidates.h"
#include "families/tokun/block_search.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "finite_differences.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::make_model;

struct Networks {
  std::shared_ptr<BlockEncoderNetwork> encoder;
  std::shared_ptr<BlockDecoderNetwork> decoder;
};

Networks networks_that_know(const std::vector<int32_t>& units, const std::string& chain) {
  TokunEncoderSettings settings;
  settings.chain = chain;
  settings.latent = 32;
  settings.width = 24;
  settings.characters = 5;
  settings.character_width = 8;
  at::Generator generator = at::detail::createCPUGenerator(3);
  Networks networks{.encoder = make_block_encoder(settings, generator), .decoder = nullptr};
  networks.decoder = make_block_decoder(settings, TokunDecoderSettings(), generator, networks.encoder);
  networks.encoder->learn(units);
  networks.encoder->eval();
  networks.decoder->eval();
  return networks;
}

at::Tensor some_vectors(int64_t count) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  return at::randn({count, 32}, generator, at::TensorOptions(at::kFloat));
}

TEST(known_characters, are_the_first_ones_that_training_sees) {
  const Networks networks = networks_that_know({0, 'a', 0x4E2D, 'a', 0}, "4x4");
  const KnownCharacters& known = *networks.encoder->known();
  EXPECT_EQ(networks.decoder->forward(some_vectors(1), at::kFloat).known, &known);
  EXPECT_EQ(networks.decoder->forward(some_vectors(1), at::kFloat).known_MK.size(1), 3);
  EXPECT_EQ(known.row(0), 0);
  EXPECT_EQ(known.row('a'), 1);
  EXPECT_EQ(known.unit(2), 0x4E2D);
  EXPECT_EQ(known.row('b'), -1);
  networks.encoder->learn(std::vector<int32_t>{'b', 0x1100FF, 'c'});
  EXPECT_EQ(known.count(), 5);
  EXPECT_EQ(known.row('b'), 3);
  EXPECT_EQ(known.row(0x1100FF), 4);
  EXPECT_EQ(known.row('c'), -1) << "there are five rows";
  EXPECT_EQ(networks.decoder->forward(some_vectors(1), at::kFloat).known_MK.size(1), 5);
}

// Whatever is kept for speed: with gradients and without, and after the weights have changed.
TEST(known_characters, are_the_nearer_the_more_their_vectors_agree) {
  const Networks networks = networks_that_know({0, 'a', 0x4E2D}, "4x4");
  const at::Tensor z_NL = some_vectors(3);
  const auto without_gradients = [&] {
    torch::NoGradGuard no_grad;
    return networks.decoder->forward(z_NL, at::kFloat).known_MK;
  };
  const at::Tensor before = without_gradients();
  EXPECT_TRUE(at::allclose(networks.decoder->forward(z_NL, at::kFloat).known_MK, before, 1e-4, 1e-5));
  torch::NoGradGuard no_grad;
  for (auto& parameter : networks.encoder->named_parameters()) {
    if (parameter.key() == "known.rows") parameter.value().slice(0, 1, 2).mul_(-3);
  }
  const at::Tensor after = without_gradients();
  EXPECT_GT((after - before).select(1, 1).abs().max().item<float>(), 0.01F);
  EXPECT_EQ((after - before).select(1, 0).abs().max().item<float>(), 0);
  EXPECT_EQ((after - before).select(1, 2).abs().max().item<float>(), 0);
}

TEST(known_characters, have_vectors_of_their_own) {
  torch::NoGradGuard no_grad;
  const auto encoder = networks_that_know({0, 'a', 0x4E2D}, "4x4").encoder;
  PositionBatch batch;
  batch.ids = {'a', 'b', 0x4E2D, 0x4E2E};
  batch.id_offsets = {0, 1, 2, 3, 4};
  batch.offsets = {0, 4};
  const at::Tensor before = encoder->forward(batch, at::kFloat).clone();
  for (auto& parameter : encoder->named_parameters()) {
    if (parameter.key() == "known.rows") parameter.value().slice(0, 1, 3).mul_(-3);  // not those of padding
  }
  const at::Tensor changed_4 = (encoder->forward(batch, at::kFloat) - before).abs().amax(1);
  EXPECT_GT(changed_4[0].item<float>(), 0.01F);
  EXPECT_EQ(changed_4[1].item<float>(), 0);
  EXPECT_GT(changed_4[2].item<float>(), 0.01F);
  EXPECT_EQ(changed_4[3].item<float>(), 0);
}

// What is said of one place, as probabilities: of each known character, and of each value of each byte, times how far
// that way is trusted.
struct Chances {
  double trust = 0;
  std::vector<double> known;
  std::vector<std::vector<double>> bytes;  // plane, high, low

  Chances(const BlockLogits& said, int64_t place) {
    trust = 1 / (1 + std::exp(-said.trust_M[place].item<double>()));
    const auto shares = [&](const at::Tensor& logits) {
      const at::Tensor softmax = at::softmax(logits[place].to(at::kDouble), 0).contiguous();
      return std::vector<double>(softmax.data_ptr<double>(), softmax.data_ptr<double>() + softmax.numel());
    };
    known = shares(said.known_MK);
    for (const ByteLogits& head : said.bytes) bytes.push_back(shares(head.logits_RV));
  }
  [[nodiscard]] double spelled(int32_t unit) const {
    const auto plane = static_cast<size_t>(unit >> 16);
    if (plane >= bytes[0].size()) return 0;
    return (1 - trust) * bytes[0][plane] * bytes[1][unit >> 8 & 255] * bytes[2][unit & 255];
  }
  [[nodiscard]] double of(int32_t unit, int64_t row) const {
    return spelled(unit) + (row < 0 ? 0 : trust * known[static_cast<size_t>(row)]);
  }
};

int32_t unit_at(const at::Tensor& bytes_T, int64_t place) {
  const auto byte = [&](int64_t i) { return bytes_T[4 * place + i].item<int32_t>(); };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

TEST(known_characters, are_decided_among_as_wholes_and_the_others_by_their_bytes) {
  torch::NoGradGuard no_grad;
  const auto network = networks_that_know({0, 'a', 0x4E2D}, "4x4").decoder;
  constexpr int64_t kBlocks = 40;
  const at::Tensor z_NL = some_vectors(kBlocks);
  BlockLogits said = network->forward(z_NL, at::kFloat);
  // Bytes of some certainty, as those of a decoder that has learnt are.
  for (ByteLogits& head : said.bytes) head.logits_RV = head.logits_RV * 6;
  const at::Tensor bytes_NT = most_likely_blocks(said, kBlocks, 16);
  const at::Tensor spelled_NT = most_likely_blocks({.bytes = said.bytes, .known_MK = {}, .trust_M = {}}, kBlocks, 16);
  size_t wholes = 0, spelled = 0;
  for (int64_t block = 0; block < kBlocks; ++block) {
    for (int64_t place = 0; place < 4; ++place) {
      const Chances chances(said, block * 4 + place);
      const int32_t by_bytes = unit_at(spelled_NT[block], place);
      int32_t best = by_bytes;
      for (const int32_t unit : {0, static_cast<int32_t>('a'), 0x4E2D}) {
        if (chances.of(unit, said.known->row(unit)) > chances.of(best, said.known->row(best))) best = unit;
      }
      ++(best == by_bytes ? spelled : wholes);
      EXPECT_EQ(unit_at(bytes_NT[block], place), best) << "block " << block << ", place " << place;
    }
  }
  EXPECT_GT(wholes, 10U);
  EXPECT_GT(spelled, 10U);
}

// Always the same of two ways, then what is likeliest.
class Trusting final : public Chooser {
 public:
  explicit Trusting(bool known) : known_(known) {}
  int64_t choose(std::span<float> scores) override {
    if (scores.size() == 2) return known_ ? 1 : 0;
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  }

 private:
  bool known_;
};

TEST(known_characters, are_chosen_where_their_way_is) {
  torch::NoGradGuard no_grad;
  const auto network = networks_that_know({'a', 'b', 0x4E2D}, "4x4").decoder;
  const at::Tensor z_NL = some_vectors(30);
  int64_t places = 0;
  for (int64_t block = 0; block < 30; ++block) {
    const BlockLogits said = network->forward(z_NL.slice(0, block, block + 1), at::kFloat);
    Trusting in_known(true), in_bytes(false);
    const std::vector<uint8_t> known = choose_block(said, 16, in_known), bytes = choose_block(said, 16, in_bytes);
    const at::Tensor spelled_NT = most_likely_blocks({.bytes = said.bytes, .known_MK = {}, .trust_M = {}}, 1, 16);
    for (int64_t place = 0; place < 4; ++place) {
      const std::vector<int32_t> units = {0, 'a', 'b', 0x4E2D};
      const auto best = said.known_MK[place].argmax().item<int64_t>();
      EXPECT_EQ(known[4 * place + 2] << 8 | known[4 * place + 3], units[best]) << "block " << block;
      ++places;
      if (units[best] == 0) break;  // the text has ended
      for (int64_t i = 4 * place; i < 4 * place + 4; ++i) EXPECT_EQ(bytes[i], spelled_NT[0][i].item<uint8_t>());
    }
  }
  EXPECT_GT(places, 40);
}

TEST(known_characters, have_a_likelihood_that_sums_to_one_with_all_others) {
  torch::NoGradGuard no_grad;
  const auto network = networks_that_know({0, 'a', 0x4E2D}, "4").decoder;
  const BlockLogits one = network->forward(some_vectors(1), at::kFloat);
  constexpr int64_t kRows = 1 << 16;
  BlockLogits said{.bytes = one.bytes,
                   .known_MK = one.known_MK.repeat({kRows, 1}),
                   .trust_M = one.trust_M.repeat({kRows}),
                   .known = one.known};
  for (ByteLogits& head : said.bytes) head.logits_RV = head.logits_RV.repeat({kRows, 1});
  const Chances chances(one, 0);
  const at::Tensor low = at::arange(kRows, at::kLong);
  double total = 0;
  for (int32_t plane = 0; plane < 32; ++plane) {
    const at::Tensor bytes_NT = at::stack(
        {at::zeros_like(low), at::full_like(low, plane), low.bitwise_right_shift(8), low.bitwise_and(255)}, 1);
    const at::Tensor nats_N = nats_of_blocks(said, bytes_NT).to(at::kDouble);
    total += at::exp(-nats_N).sum().item<double>();
    for (const int32_t unit : {0x61, 0x4E2D, 0x4E2E}) {
      const int64_t row = one.known->row(plane << 16 | unit);
      EXPECT_NEAR(nats_N[unit].item<double>(), -std::log(chances.of(plane << 16 | unit, row)), 1e-4);
    }
    // To learn from, each way counts by itself besides.
    const at::Tensor both_N = nats_of_blocks(said, bytes_NT, /*both_ways=*/true);
    const double spelled = chances.spelled(plane << 16 | 0x4E2D) / (1 - chances.trust);
    EXPECT_NEAR((both_N[0x4E2D] - nats_N[0x4E2D]).item<double>(),
                -std::log(spelled) - (plane == 0 ? std::log(chances.known[2]) : 0), 1e-4);
  }
  EXPECT_NEAR(total, 1, 1e-4);
  const at::Tensor nothing_NT = at::full({kRows, 4}, -1, at::kLong);
  EXPECT_EQ(nats_of_blocks(said, nothing_NT).abs().max().item<float>(), 0);
}

constexpr const char* kSettings =
    "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 32\nwidth = 24\ncharacters = 6\n"
    "[backbone]\nkind = 'none'\n";

const KnownCharacters& known_of(LanguageModel& model) {
  return *dynamic_cast<TokunEncoder&>(model.encoder()).network().known();
}

TEST(known_characters, are_learnt_from_natural_text_in_training_and_kept_with_the_weights) {
  const auto model = make_model(kSettings);
  PositionBatch batch = make_batch(model->segmenter(), {{.bytes = "aba\xC3\xA9"}, {.bytes = "xyz"}});
  predict_itself(batch);
  batch.natural_rows = 2;  // the start and one block
  model->eval();
  (void)model->nats(batch, {});
  EXPECT_EQ(known_of(*model).count(), 1) << "padding";
  model->train();
  (void)model->training_loss(batch, {});
  EXPECT_EQ(known_of(*model).count(), 5) << "padding, the start, a, b, e with its accent";
  EXPECT_EQ(known_of(*model).row(0xE9), 4);
  EXPECT_EQ(model->learning_rate_factor("encoder.network.known.characters"), 0);
  const testing::ScratchFolder folder;
  const std::filesystem::path saved = folder / "model";
  std::filesystem::create_directories(saved);
  save_model(*model, saved, "");
  const auto loaded = load_model(saved);
  EXPECT_EQ(known_of(*loaded).count(), 5);
  EXPECT_EQ(known_of(*loaded).row('b'), 3);
  EXPECT_EQ(known_of(*loaded).row('x'), -1);
  model->eval();
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(loaded->nats(batch, {}), model->nats(batch, {})));
}

// The slope of what training lowers along a random direction of each parameter, by central differences in double.
TEST(known_characters, have_gradients_that_equal_finite_differences) {
  const auto model = make_model(
      "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 8\nwidth = 6\ncharacters = 7\ncharacter_width = "
      "5\n"
      "[decoder]\nmixing = 2\nreach = 2\n[backbone]\nkind = 'none'\n",
      3);
  model->to(at::kDouble);
  model->train();
  PositionBatch batch = make_batch(model->segmenter(), {{.bytes = "one two, three \xC3\xA9"}, {.bytes = "x"}});
  predict_itself(batch);
  const auto loss = [&] { return model->training_loss(batch, {.compute_type = at::kDouble}).rows_N.sum(); };
  loss().backward();
  EXPECT_EQ(known_of(*model).count(), 7);
  torch::NoGradGuard no_grad;
  at::manual_seed(9);
  for (const auto& parameter : model->named_parameters()) {
    at::Tensor value = parameter.value();
    if (!value.requires_grad()) {
      EXPECT_EQ(parameter.key(), "encoder.network.known.characters");
      continue;
    }
    testing::expect_slope(value, parameter.key(), loss);
  }
}

// Says the same of any vectors.
class Says final : public BlockDecoderNetwork {
 public:
  explicit Says(BlockLogits said) : said_(std::move(said)) {}
  [[nodiscard]] BlockLogits forward(const at::Tensor& /*z_NL*/, at::ScalarType /*type*/) override { return said_; }
  [[nodiscard]] double multiplications() const override { return 0; }

 private:
  BlockLogits said_;
};

TEST(known_characters, are_no_hindrance_to_bytes_when_a_block_is_checked) {
  torch::NoGradGuard no_grad;
  const Networks networks = networks_that_know({0, 'a', 'b'}, "4x4");
  const std::vector<int64_t> right = {0, 0, 0x4E, 0x2D};  // not known
  BlockLogits said{.known_MK = at::zeros({4, 3}), .trust_M = at::full({4}, 50.0F), .known = networks.encoder->known()};
  for (int64_t byte = 1; byte < 4; ++byte) {
    at::Tensor logits = at::zeros({4, byte == 1 ? 32 : 256});
    logits.select(1, right[byte]).fill_(9);
    said.bytes.push_back({.logits_RV = logits, .first = byte, .stride = 4});
  }
  Says decoder(said);
  const Units units(4, 0x4E2D);
  const at::Tensor z_NL = networks.encoder->forward(batch_of_units(units, 4), at::kFloat);
  const at::Tensor proposed_NT = most_likely_blocks(said, 1, 16);
  EXPECT_EQ(unit_at(proposed_NT[0], 0), 0) << "padding, the first of the known";
  // Not one search is needed.
  const CheckedBlocks found =
      check_blocks(*networks.encoder, decoder, z_NL, proposed_NT, at::kFloat, [] { return false; });
  EXPECT_EQ(found.confirmed, std::vector<bool>{true});
  for (int64_t place = 0; place < 4; ++place) EXPECT_EQ(unit_at(found.bytes_NT[0], place), 0x4E2D);
}

TEST(known_characters, are_exchanged_one_after_the_other_before_a_block_is_searched_for) {
  torch::NoGradGuard no_grad;
  const Networks networks = networks_that_know({0, 'a', 'b'}, "4x4");
  BlockLogits said{.known_MK = at::zeros({4, 3}), .trust_M = at::full({4}, 50.0F), .known = networks.encoder->known()};
  // Bytes say the unknown character, and of the known ones nothing of use.
  for (int64_t byte = 1; byte < 4; ++byte) {
    at::Tensor logits = at::zeros({4, byte == 1 ? 32 : 256});
    logits[0][std::array<int64_t, 4>{0, 0, 0x4E, 0x2D}[byte]] = 9;
    for (int64_t place = 1; place < 4; ++place) logits[place][byte == 3 ? 'x' : 0] = 9;
    said.bytes.push_back({.logits_RV = logits, .first = byte, .stride = 4});
  }
  Says decoder(said);
  const Units right = {0x4E2D, 'a', 'b', 'a'};
  const at::Tensor z_NL = networks.encoder->forward(batch_of_units(right, 4), at::kFloat);
  const CheckedBlocks found =
      check_blocks(*networks.encoder, decoder, z_NL, most_likely_blocks(said, 1, 16), at::kFloat, [] { return false; });
  EXPECT_EQ(found.confirmed, std::vector<bool>{true});
  EXPECT_EQ(units_of_blocks(found.bytes_NT), right);
}

TEST(known_characters, are_searched_among_when_a_block_is_checked) {
  torch::NoGradGuard no_grad;
  const auto model = make_model(kSettings);
  auto& encoder = dynamic_cast<TokunEncoder&>(model->encoder()).network();
  auto& decoder = dynamic_cast<WholeBlockDecoder&>(model->decoder()).network();
  encoder.learn(std::vector<int32_t>{0, 'a', 0x4E2D, 0x1F600, 'b'});
  // Bytes say nothing of use.
  model->named_parameters()["decoder.network.known.trust.bias"].fill_(50.0);
  model->eval();
  const PositionBatch batch = make_batch(model->segmenter(), {{.bytes = "ab\xE4\xB8\xAD\xF0\x9F\x98\x80"}});
  const at::Tensor z_NL = encoder.forward(batch, at::kFloat).slice(0, 1);  // behind the start
  const at::Tensor proposed_NT = decoder.most_likely(z_NL, at::kFloat, 16);
  const CheckedBlocks found = check_blocks(encoder, decoder, z_NL, proposed_NT, at::kFloat);
  EXPECT_EQ(found.confirmed, std::vector<bool>{true});
  const std::vector<uint8_t> expected = {0, 0, 0, 'a', 0, 0, 0, 'b', 0, 0, 0x4E, 0x2D, 0, 1, 0xF6, 0};
  EXPECT_FALSE(at::equal(proposed_NT, found.bytes_NT)) << "nothing was to be found";
  EXPECT_TRUE(
      at::equal(found.bytes_NT[0], at::tensor(std::vector<int64_t>(expected.begin(), expected.end()), at::kByte)));
}

}  // namespace
}  // namespace verbatim
