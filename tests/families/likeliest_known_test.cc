#include "families/tokun/likeliest_known.h"

#include <gtest/gtest.h>

#include <cmath>

#include "families/tokun/block_settling.h"
#include "nn/torch.h"

namespace verbatim {
namespace {

constexpr int64_t kPlaces = 4, kWidth = 16;

std::shared_ptr<BlockEncoderNetwork> encoder_that_knows(const Units& units, bool join_layer) {
  TokunEncoderSettings settings;
  settings.chain = "4x4";
  settings.latent = kWidth;
  settings.width = 12;
  settings.characters = 8;
  settings.join_layer = join_layer;
  at::Generator generator = at::detail::createCPUGenerator(3);
  auto encoder = make_block_encoder(settings, generator);
  encoder->learn(units);
  encoder->eval();
  return encoder;
}

at::Tensor noise(const std::vector<int64_t>& shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::TensorOptions(at::kFloat));
}

TEST(likeliest_known, is_the_best_of_all_that_are_encoded_in_a_place) {
  torch::NoGradGuard no_grad;
  const Units known = {0, 'a', 'b', 'c', 0x4E2D, 'e', 'f'};
  const auto encoder = encoder_that_knows(known, /*join_layer=*/false);
  // One of them is not known.
  const Units units = {'a', 'b', 0x4E2D, 'c', 'f', 'x', 'e', 'a', 'b', 'b', 0, 0};
  const int64_t blocks = static_cast<int64_t>(units.size()) / kPlaces, count = static_cast<int64_t>(known.size());
  const at::Tensor z_NL = encoder->forward(batch_of_units(units, kPlaces), at::kFloat) + noise({blocks, kWidth}, 1);
  const at::Tensor logarithms_NPK = at::log_softmax(3 * noise({blocks, kPlaces, count}, 2), 2);
  LikeliestKnown likeliest(*encoder, at::kFloat);
  const at::Tensor row_NP = likeliest(z_NL, units, logarithms_NPK);
  ASSERT_EQ(row_NP.sizes(), (std::vector<int64_t>{blocks, kPlaces}));
  int64_t changed = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t place = 0; place < kPlaces; ++place) {
      int64_t best = -1;
      double most = 0;
      for (int64_t row = 0; row < count; ++row) {
        Units tried(units.begin() + block * kPlaces, units.begin() + (block + 1) * kPlaces);
        tried[place] = known[row];
        const at::Tensor vector_1L = encoder->forward(batch_of_units(tried, kPlaces), at::kFloat);
        const double square = (vector_1L[0] - z_NL[block]).square().sum().item<double>();
        const double score =
            logarithms_NPK[block][place][row].item<double>() - static_cast<double>(kWidth) / 2 * std::log(square);
        if (best >= 0 && score <= most) continue;
        best = row;
        most = score;
      }
      EXPECT_EQ(row_NP[block][place].item<int64_t>(), best) << "block " << block << ", place " << place;
      changed += known[best] != units[block * kPlaces + place] ? 1 : 0;
    }
  }
  EXPECT_GT(changed, 3);
  EXPECT_LT(changed, blocks * kPlaces);
}

// Takes one known character for impossible, whatever the vector says; those beside a place say nothing.
class Blind final : public BlockDecoderNetwork {
 public:
  Blind(const KnownCharacters& known, int64_t unseen) : known_(known), unseen_(unseen) {}
  [[nodiscard]] BlockLogits forward(const at::Tensor& z_NL, at::ScalarType /*type*/) override {
    const int64_t places = z_NL.size(0) * kPlaces;
    BlockLogits said{.bytes = {},
                     .known_MK = at::zeros({places, known_.count()}),
                     .trust_M = at::full({places}, 9.0F),
                     .known = &known_};
    said.known_MK.select(1, unseen_).fill_(-100);
    for (int64_t byte = 1; byte < 4; ++byte) {
      said.bytes.push_back({.logits_RV = at::zeros({places, byte == 1 ? 32 : 256}), .first = byte, .stride = 4});
    }
    return said;
  }
  [[nodiscard]] int64_t reach_beside() const override { return 1; }
  [[nodiscard]] at::Tensor likely_beside(const at::Tensor& row_GQ, at::ScalarType /*type*/) override {
    return at::zeros({row_GQ.size(0), row_GQ.size(1), known_.count()});
  }
  [[nodiscard]] double multiplications() const override { return 0; }

 private:
  const KnownCharacters& known_;
  int64_t unseen_;
};

TEST(likeliest_known, is_tried_in_settling_whatever_the_decoder_holds_of_it) {
  torch::NoGradGuard no_grad;
  const Units right = {'a', 0x4E2D, 'b', 'c', 'c', 'c', 'a', 0x4E2D}, wrong = {'a', 'c', 'b', 'c', 'c', 'c', 'a', 'b'};
  const auto settled_with = [&](bool join_layer) {
    const auto encoder = encoder_that_knows({0, 'a', 'b', 'c', 0x4E2D}, join_layer);
    Blind decoder(*encoder->known(), /*unseen=*/4);
    const at::Tensor z_NL = encoder->forward(batch_of_units(right, kPlaces), at::kFloat) + 0.01 * noise({2, kWidth}, 5);
    at::Tensor proposed_NT = at::empty({2, 4 * kPlaces}, at::kByte);
    write_units(wrong, proposed_NT.data_ptr<uint8_t>());
    return units_of_blocks(settle_blocks(*encoder, decoder, z_NL, proposed_NT, at::kFloat));
  };
  EXPECT_EQ(settled_with(/*join_layer=*/false), right);
  const Units of_others = settled_with(/*join_layer=*/true);
  EXPECT_EQ(of_others[1] == 0x4E2D || of_others[7] == 0x4E2D, false) << "blocks that are no sums are not searched so";
}

}  // namespace
}  // namespace verbatim
