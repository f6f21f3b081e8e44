#include "families/tokun/character_context.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "families/tokun/block_candidates.h"
#include "families/tokun/block_settling.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "finite_differences.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::make_model;

constexpr int64_t kPlaces = 8, kReach = 2, kKnown = 6;

struct Holder : torch::nn::Module {
  Holder() {
    at::Generator generator = at::detail::createCPUGenerator(7);
    context = CharacterContext(*this, "context", kKnown, kReach, 5, 9, generator);
  }
  CharacterContext context;
};

at::Tensor logits_of(const Holder& holder, const std::vector<int64_t>& rows, at::ScalarType type = at::kFloat) {
  torch::NoGradGuard no_grad;
  return holder.context.logits(at::tensor(rows, at::kLong).view({-1, kPlaces}), kKnown, type).flatten(0, 1);
}

TEST(character_context, is_what_stands_beside_a_place_and_not_what_stands_there) {
  const Holder holder;
  const std::vector<int64_t> rows = {0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4};
  const at::Tensor before = logits_of(holder, rows);
  ASSERT_EQ(before.sizes(), (std::vector<int64_t>{2 * kPlaces, kKnown}));
  for (const int64_t other : {-1, 0}) {
    for (int64_t changed = 1; changed < 2 * kPlaces; ++changed) {
      std::vector<int64_t> others = rows;
      others[changed] = others[changed] == other ? 5 : other;
      const at::Tensor moved_M = (logits_of(holder, others) - before).abs().amax(1);
      for (int64_t place = 0; place < 2 * kPlaces; ++place) {
        const bool reaches = place != changed && std::abs(place - changed) <= kReach &&
                             place / kPlaces == changed / kPlaces;  // the other text knows nothing of it
        const auto moved = moved_M[place].item<float>();
        EXPECT_EQ(moved > 1e-4F, reaches) << "place " << place << " by " << changed << ": " << moved;
      }
    }
  }
}

TEST(character_context, is_the_same_in_every_precision) {
  const Holder holder;
  const std::vector<int64_t> rows = {0, -1, 2, 3, 3, 5, 1, 2};
  const at::Tensor fast = logits_of(holder, rows), narrow = logits_of(holder, rows, at::kBFloat16).to(at::kFloat);
  EXPECT_GT(fast.abs().max().item<float>(), 0.05F);
  EXPECT_TRUE(at::allclose(narrow, fast, 0.05, 0.05));
}

constexpr const char* kSettings =
    "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 8\nwidth = 6\ncharacters = 7\ncharacter_width = 5\n"
    "hidden_characters = 0.3\n[decoder]\ncontext = 2\ncontext_width = 4\ncontext_hidden = 3\n[backbone]\nkind = "
    "'none'\n";

PositionBatch some_text(LanguageModel& model) {
  PositionBatch batch = make_batch(model.segmenter(), {{.bytes = "one two, three \xC3\xA9"}, {.bytes = "x"}});
  predict_itself(batch);
  return batch;
}

TEST(character_context, has_gradients_that_equal_finite_differences) {
  const auto model = make_model(kSettings, 3);
  model->to(at::kDouble);
  model->train();
  const PositionBatch batch = some_text(*model);
  const auto loss = [&] { return model->training_loss(batch, {.compute_type = at::kDouble}).rows_N.sum(); };
  (void)loss();  // who is known is settled
  loss().backward();
  torch::NoGradGuard no_grad;
  at::manual_seed(9);
  int64_t of_context = 0;
  for (const auto& parameter : model->named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    testing::expect_slope(parameter.value(), parameter.key(), loss);
    if (parameter.key().find(".context.") == std::string::npos) continue;
    ++of_context;
    EXPECT_GT(parameter.value().grad().abs().max().item<double>(), 1e-6) << parameter.key();
  }
  EXPECT_EQ(of_context, 5) << "rows, bias, norm, up, down";
}

TEST(character_context, is_learnt_from_natural_text_alone) {
  const auto model = make_model(kSettings, 3);
  model->train();
  PositionBatch batch = some_text(*model);
  const auto learnt_from = [&](int64_t natural_rows) {
    batch.natural_rows = natural_rows;
    model->zero_grad();
    model->training_loss(batch, {}).rows_N.sum().backward();
    const at::Tensor gradient = model->named_parameters()["decoder.network.context.bias"].grad();
    return gradient.defined() ? gradient.abs().sum().item<float>() : 0.0F;
  };
  EXPECT_GT(learnt_from(-1), 0.1F);
  EXPECT_GT(learnt_from(3), 0.1F);
  EXPECT_EQ(learnt_from(0), 0);
}

TEST(hidden_characters, count_as_unknown_until_training_ends) {
  const auto model = make_model(kSettings, 3);
  auto& network = dynamic_cast<TokunEncoder&>(model->encoder()).network();
  const KnownCharacters& known = *network.known();
  network.learn(std::vector<int32_t>{0, 'a', 'b', 'c', 'd', 'e', 'f'});
  at::Generator generator = at::detail::createCPUGenerator(1);
  model->train();
  network.hide(1, generator);
  EXPECT_EQ(known.row(0), 0) << "padding is always known";
  EXPECT_EQ(known.row('a'), -1);
  EXPECT_EQ(known.count(), 7) << "rows stay";
  int64_t hidden = 0;
  constexpr int64_t kTimes = 400;
  for (int64_t i = 0; i < kTimes; ++i) {
    network.hide(0.25, generator);
    hidden += known.row('c') < 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(hidden) / kTimes, 0.25, 0.09);
  network.hide(1, generator);
  model->eval();
  EXPECT_EQ(known.row('a'), 1);
}

// A hidden character's vector is that of its bytes; the vectors that the decoder decides among stay.
TEST(hidden_characters, lose_their_rows_in_the_encoder_alone) {
  torch::NoGradGuard no_grad;
  const auto model = make_model(kSettings, 3);
  auto& network = dynamic_cast<TokunEncoder&>(model->encoder()).network();
  network.learn(std::vector<int32_t>{0, 'a', 'b'});
  model->train();
  const auto vector = [&] { return network.computed(batch_of_units({'a', 'x', 'b', 'x'}, 4), at::kFloat); };
  const at::Tensor shown = vector(), of_known = network.known_vectors(at::kFloat);
  at::Generator generator = at::detail::createCPUGenerator(1);
  network.hide(1, generator);
  const at::Tensor hidden = vector();
  EXPECT_GT((shown - hidden).abs().max().item<float>(), 0.01F);
  EXPECT_TRUE(at::equal(network.known_vectors(at::kFloat), of_known));
  model->named_parameters()["encoder.network.known.rows"].mul_(-3);
  EXPECT_TRUE(at::equal(vector(), hidden)) << "rows are of no account";
}

// Holds all known characters likely, and says which ones its neighbours do.
class Between final : public BlockDecoderNetwork {
 public:
  Between(const KnownCharacters& known, int64_t favourite) : known_(known), favourite_(favourite) {}
  [[nodiscard]] BlockLogits forward(const at::Tensor& z_NL, at::ScalarType /*type*/) override {
    const int64_t places = z_NL.size(0) * 4;
    BlockLogits said{
        .known_MK = at::zeros({places, known_.count()}), .trust_M = at::full({places}, 9.0F), .known = &known_};
    for (int64_t byte = 1; byte < 4; ++byte) {
      said.bytes.push_back({.logits_RV = at::zeros({places, byte == 1 ? 32 : 256}), .first = byte, .stride = 4});
    }
    return said;
  }
  [[nodiscard]] int64_t reach_beside() const override { return 1; }
  // The favourite, behind row 1 alone, by five nats.
  [[nodiscard]] at::Tensor likely_beside(const at::Tensor& row_GQ, at::ScalarType /*type*/) override {
    at::Tensor logits_GQK = at::zeros({row_GQ.size(0), row_GQ.size(1), known_.count()});
    for (int64_t text = 0; text < row_GQ.size(0); ++text) {
      for (int64_t place = 1; place < row_GQ.size(1); ++place) {
        if (row_GQ[text][place - 1].item<int64_t>() == 1) logits_GQK[text][place][favourite_] = 5;
      }
    }
    return logits_GQK;
  }
  [[nodiscard]] double multiplications() const override { return 0; }

 private:
  const KnownCharacters& known_;
  int64_t favourite_;
};

class settling_beside : public ::testing::Test {
 protected:
  settling_beside() : model_(make_model(kSettings, 3)) {
    model_->eval();
    encoder().learn(std::vector<int32_t>{0, 'a', 'b', 'c', 'd'});
  }
  BlockEncoderNetwork& encoder() { return dynamic_cast<TokunEncoder&>(model_->encoder()).network(); }
  // Blocks of four units. The vectors lie between those of two texts, nearer to the first, which is proposed.
  Units settle(const Units& first, const Units& second, const SettlingOptions& options = {}, double share = 0.6) {
    torch::NoGradGuard no_grad;
    Between decoder(*encoder().known(), /*favourite=*/3);
    const at::Tensor z_NL = share * encoder().forward(batch_of_units(first, 4), at::kFloat) +
                            (1 - share) * encoder().forward(batch_of_units(second, 4), at::kFloat);
    at::Tensor proposed_NT = at::empty({z_NL.size(0), 16}, at::kByte);
    write_units(first, proposed_NT.data_ptr<uint8_t>());
    return units_of_blocks(settle_blocks(encoder(), decoder, z_NL, proposed_NT, at::kFloat, options));
  }

 private:
  std::shared_ptr<LanguageModel> model_;
};

TEST_F(settling_beside, takes_what_characters_make_likely_beside_them) {
  EXPECT_EQ(settle({'a', 'b', 'd', 'd'}, {'a', 'c', 'd', 'd'}), (Units{'a', 'c', 'd', 'd'})) << "behind a";
  EXPECT_EQ(settle({'b', 'b', 'd', 'd'}, {'b', 'c', 'd', 'd'}), (Units{'b', 'b', 'd', 'd'})) << "behind another";
  EXPECT_EQ(settle({'a', 'b', 'd', 'd'}, {'a', 'b', 'd', 'd'}), (Units{'a', 'b', 'd', 'd'})) << "the vector says it";
}

TEST_F(settling_beside, takes_characters_that_training_has_not_seen_for_rare) {
  const Units unknown = {'d', 'b', 'x', 'd'}, known = {'d', 'b', 'd', 'd'};
  EXPECT_EQ(settle(unknown, known), known);
  EXPECT_EQ(settle(unknown, known, {}, /*share=*/0.999), unknown) << "the vector says it";
}

TEST_F(settling_beside, knows_of_the_next_block_where_they_are_of_one_text) {
  const Units first = {'b', 'b', 'd', 'a', 'b', 'd', 'd', 'd'}, second = {'b', 'b', 'd', 'a', 'c', 'd', 'd', 'd'};
  EXPECT_EQ(settle(first, second), first);
  EXPECT_EQ(settle(first, second, {.consecutive = true}), second);
  // Behind padding the text does not go on.
  const Units ended = {'b', 'b', 'a', 0, 'b', 'd', 'd', 'd'}, other = {'b', 'b', 'a', 0, 'c', 'd', 'd', 'd'};
  EXPECT_EQ(settle(ended, other, {.consecutive = true}), ended);
}

TEST(character_context, needs_known_characters) {
  EXPECT_THROW((void)make_model("[model]\nfamily = 'tokun'\n[decoder]\ncontext = 2\n[backbone]\nkind = 'none'\n"),
               InputError);
}

}  // namespace
}  // namespace verbatim
