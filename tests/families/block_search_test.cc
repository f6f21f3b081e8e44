#include "families/tokun/block_search.h"

#include <gtest/gtest.h>

#include <string>

#include "blocks/utf32.h"
#include "families/tokun/block_settling.h"
#include "nn/torch.h"

namespace verbatim {
namespace {

constexpr int64_t kBlockBytes = 16;

at::Tensor stream_of(std::u32string_view units) {
  std::string stream;
  append_utf32be(units, stream);
  const auto count = static_cast<int64_t>(stream.size());
  return at::from_blob(stream.data(), {count}, at::TensorOptions(at::kByte)).clone().view({-1, kBlockBytes});
}

// Says what it was given, whatever the vectors are.
class FixedDecoder final : public BlockDecoderNetwork {
 public:
  // Of one block: for each byte the values that are likely, the likeliest first.
  explicit FixedDecoder(std::vector<std::vector<int64_t>> values, bool bits = false)
      : values_(std::move(values)), bits_(bits) {}
  [[nodiscard]] BlockLogits forward(const at::Tensor& z_NL, at::ScalarType /*type*/) override {
    at::Tensor logits = at::zeros({static_cast<int64_t>(values_.size()), bits_ ? 8 : 256}, at::kFloat);
    for (size_t byte = 0; byte < values_.size(); ++byte) {
      const auto at = static_cast<int64_t>(byte);
      for (size_t i = 0; !bits_ && i < values_[byte].size(); ++i) logits[at][values_[byte][i]] = 10.0F - i;
      // Bits that differ from the second value are less certain than the others.
      for (int64_t bit = 0; bits_ && bit < 8; ++bit) {
        const auto is_set = [&](int64_t value) { return (value >> (7 - bit) & 1) != 0; };
        const bool first = is_set(values_[byte].front());
        const bool differs = is_set(values_[byte].back()) != first;
        logits[at][bit] = (first ? 1 : -1) * (differs ? 0.1F : 5.0F);
      }
    }
    return {.bytes = {{.logits_RV = logits.repeat({z_NL.size(0), 1}), .first = 0, .stride = 1, .bits = bits_}},
            .known_MK = {}};
  }
  [[nodiscard]] double multiplications() const override { return 0; }

 private:
  std::vector<std::vector<int64_t>> values_;
  bool bits_;
};

// The bytes of `right`, all certain but those of `wrong` that differ, which are likelier.
std::vector<std::vector<int64_t>> likely_values(std::u32string_view wrong, std::u32string_view right) {
  const at::Tensor first = stream_of(wrong).flatten(), second = stream_of(right).flatten();
  std::vector<std::vector<int64_t>> values;
  for (int64_t i = 0; i < first.numel(); ++i) {
    values.push_back({first[i].item<int64_t>()});
    if (second[i].item<int64_t>() != values.back()[0]) values.back().push_back(second[i].item<int64_t>());
  }
  return values;
}

std::shared_ptr<BlockEncoderNetwork> encoder_of(const std::string& network) {
  TokunEncoderSettings settings;
  settings.chain = "4x4";
  settings.network = network;
  settings.latent = 32;
  settings.width = network == "gated" ? 24 : 32;
  at::Generator generator = at::detail::createCPUGenerator(1);
  auto encoder = make_block_encoder(settings, generator);
  encoder->eval();
  return encoder;
}

at::Tensor vector_of(BlockEncoderNetwork& encoder, std::u32string_view units) {
  at::NoGradGuard no_grad;
  PositionBatch batch;
  batch.ids.assign(units.begin(), units.end());
  batch.id_offsets = {0, static_cast<int64_t>(units.size())};
  batch.offsets = {0, 1};
  return encoder.forward(batch, at::kFloat);
}

TEST(block_search, finds_characters_that_the_decoder_held_second_likeliest) {
  const std::u32string right = U"na\u00EFv", wrong = U"na\u00EEw";  // two of the four differ
  for (const std::string network : {"gated", "published"}) {
    const auto encoder = encoder_of(network);
    for (const bool bits : {false, true}) {
      FixedDecoder decoder(likely_values(wrong, right), bits);
      const at::Tensor z = vector_of(*encoder, right);
      ASSERT_TRUE(at::equal(decoder.most_likely(z, at::kFloat, kBlockBytes), stream_of(wrong)));
      const CheckedBlocks found = check_blocks(*encoder, decoder, z, stream_of(wrong), at::kFloat);
      EXPECT_TRUE(at::equal(found.bytes_NT, stream_of(right))) << network << (bits ? ", bits" : "");
      EXPECT_EQ(found.confirmed, std::vector<bool>{true});
    }
  }
}

TEST(block_search, leaves_blocks_alone_that_are_right_and_those_it_cannot_find) {
  const auto encoder = encoder_of("gated");
  const std::u32string right = U"abcd", wrong = U"abzd", other = U"abqd";
  FixedDecoder decoder(likely_values(wrong, other));  // c is not among what it holds likely
  const at::Tensor z = at::cat({vector_of(*encoder, right), vector_of(*encoder, right)});
  const at::Tensor proposed = at::cat({stream_of(right), stream_of(wrong)});
  const CheckedBlocks found = check_blocks(*encoder, decoder, z, proposed, at::kFloat);
  EXPECT_TRUE(at::equal(found.bytes_NT, proposed));
  EXPECT_EQ(found.confirmed, (std::vector<bool>{true, false}));
  EXPECT_EQ(check_blocks(*encoder, decoder, z.slice(0, 0, 0), proposed.slice(0, 0, 0), at::kFloat).confirmed.size(),
            0U);
}

TEST(block_search, stops_searching_when_told) {
  const auto encoder = encoder_of("gated");
  const std::u32string right = U"abcd", wrong = U"abzd";
  FixedDecoder decoder(likely_values(wrong, right));
  const at::Tensor z = vector_of(*encoder, right).repeat({3, 1}), proposed = stream_of(wrong).repeat({3, 1});
  int searches = 0;
  const CheckedBlocks found = check_blocks(*encoder, decoder, z, proposed, at::kFloat, [&] { return ++searches <= 2; });
  EXPECT_EQ(found.confirmed, (std::vector<bool>{true, true, false}));
  EXPECT_TRUE(at::equal(found.bytes_NT[1], stream_of(right)[0]));
  EXPECT_TRUE(at::equal(found.bytes_NT[2], stream_of(wrong)[0]));
}

TEST(block_search, confirms_no_vector_with_noise) {
  const auto encoder = encoder_of("gated");
  const std::u32string right = U"abcd";
  FixedDecoder decoder(likely_values(right, right));
  at::Generator generator = at::detail::createCPUGenerator(2);
  const at::Tensor z = vector_of(*encoder, right);
  const at::Tensor noisy = z + 0.2 * at::randn(z.sizes(), generator, at::TensorOptions(at::kFloat));
  const CheckedBlocks found = check_blocks(*encoder, decoder, noisy, stream_of(right), at::kFloat);
  EXPECT_TRUE(at::equal(found.bytes_NT, stream_of(right)));
  EXPECT_EQ(found.confirmed, std::vector<bool>{false});
}

// Under noise: what the decoder holds of a character weighed against how near its vector is.
TEST(block_settling, weighs_nearness_against_what_the_decoder_holds) {
  torch::NoGradGuard no_grad;
  const auto encoder = encoder_of("gated");
  const std::u32string right = U"na\u00EFv", wrong = U"na\u00EEw";
  FixedDecoder decoder(likely_values(wrong, right));  // by one nat for each of the two characters
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor exact = vector_of(*encoder, right);
  constexpr int64_t kTimes = 40;
  const at::Tensor proposed = stream_of(wrong).repeat({kTimes, 1});
  for (const double noise : {0.05, 0.5, 3.0}) {
    const at::Tensor z = exact + noise * at::randn({kTimes, exact.size(1)}, generator, at::TensorOptions(at::kFloat));
    const at::Tensor settled = settle_blocks(*encoder, decoder, z, proposed, at::kFloat, {.trust = 2});
    int64_t found = 0;
    for (int64_t i = 0; i < kTimes; ++i) {
      found += at::equal(settled[i], stream_of(right)[0]) ? 1 : 0;
      // No exchange of one of the two is worth it: the definition, written out.
      const std::string bytes(reinterpret_cast<const char*>(settled[i].data_ptr<uint8_t>()), kBlockBytes);
      std::u32string block;
      for (size_t at = 0; at < bytes.size(); at += 4) block.push_back(read_unit(bytes, at));
      const auto square_of = [&](const std::u32string& units) {
        return (vector_of(*encoder, units) - z[i]).square().sum().item<double>();
      };
      const double square = square_of(block), half_width = static_cast<double>(exact.size(1)) / 2;
      for (const size_t place : {2U, 3U}) {
        std::u32string other = block;
        other[place] = block[place] == right[place] ? wrong[place] : right[place];
        const double said = other[place] == wrong[place] ? 1 : -1;
        EXPECT_LT(half_width * std::log(square / square_of(other)) + 2 * said, 1e-3)
            << "noise of " << noise << ", " << i;
      }
    }
    if (noise == 0.05) EXPECT_EQ(found, kTimes);
    if (noise == 3.0) EXPECT_LT(found, kTimes / 2);
  }
}

TEST(block_settling, leaves_certain_blocks_alone_and_takes_none_at_all) {
  torch::NoGradGuard no_grad;
  const auto encoder = encoder_of("published");
  const std::u32string right = U"abcd";
  FixedDecoder decoder(likely_values(right, right));
  const at::Tensor z = vector_of(*encoder, right);
  EXPECT_TRUE(at::equal(settle_blocks(*encoder, decoder, z, stream_of(right), at::kFloat), stream_of(right)));
  EXPECT_EQ(settle_blocks(*encoder, decoder, z.slice(0, 0, 0), stream_of(right).slice(0, 0, 0), at::kFloat).numel(), 0);
}

TEST(block_search, takes_numbers_that_are_no_character) {
  // The block that is proposed ends in a number that Unicode does not have; padding and escapes are characters, too.
  const auto encoder = encoder_of("gated");
  std::u32string right = {U'a', kEscape + 0xFF, U'b', 0}, wrong = right;
  wrong[2] = 0x1FFFFF;
  wrong[3] = 0xFFFFFFFF;
  std::vector<std::vector<int64_t>> likely = likely_values(wrong, right);
  for (size_t byte = 13; byte < 16; ++byte) likely[byte] = {0, 1};
  likely[12] = {0};
  FixedDecoder decoder(likely);
  const CheckedBlocks found = check_blocks(*encoder, decoder, vector_of(*encoder, right), stream_of(wrong), at::kFloat);
  EXPECT_TRUE(at::equal(found.bytes_NT, stream_of(right)));
  EXPECT_EQ(found.confirmed, std::vector<bool>{true});
}

}  // namespace
}  // namespace verbatim
