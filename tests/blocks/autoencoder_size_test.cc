#include "blocks/autoencoder_size.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "blocks/golden.h"

namespace verbatim {
namespace {

TEST(autoencoder_size, has_the_parameters_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  size_t cases = 0;
  for (const golden::Json& row : golden::read_lines("parameters.jsonl")) {
    const AutoencoderShape shape{.chain = {row["groups"].get<std::vector<uint32_t>>()},
                                 .width = row["dim"],
                                 .outputs = row["out"],
                                 .normalize = row["norm"],
                                 .normalize_gain = row["norm_affine"],
                                 .place_table = row["position"]};
    const AutoencoderParameters parameters = count_parameters(shape);
    const std::string where = row["version"].get<std::string>() + " " + shape.chain.name();
    EXPECT_EQ(parameters.encoder(), row["encoder"]) << where;
    EXPECT_EQ(parameters.decoder(), row["decoder"]) << where;
    EXPECT_EQ(parameters.total(), row["total"]) << where;
    ASSERT_EQ(parameters.blocks.size(), row["blocks"].size()) << where;
    for (size_t i = 0; i < parameters.blocks.size(); ++i) {
      EXPECT_EQ(parameters.blocks[i].factor, row["blocks"][i]["group"]) << where;
      EXPECT_EQ(parameters.blocks[i].encoder, row["blocks"][i]["encoder_block"]) << where;
      EXPECT_EQ(parameters.blocks[i].decoder, row["blocks"][i]["decoder_block"]) << where;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 42u);
}

// Totals that the original's own model summaries print.
TEST(autoencoder_size, has_the_published_totals) {
  const auto total = [](const char* chain, AutoencoderShape shape) {
    shape.chain = parse_chain(chain);
    return count_parameters(shape).total();
  };
  EXPECT_EQ(total("4x4", {}), 1188608u);
  EXPECT_EQ(total("4x4x4", {}), 1717248u);
  EXPECT_EQ(total("4x16", {}), 2770688u);
  EXPECT_EQ(total("4x4", {.place_table = false}), 1184512u);
  EXPECT_EQ(total("4x4x4", {.place_table = false}), 1711104u);
  EXPECT_EQ(total("4x64", {.outputs = 8, .place_table = false}), 9000456u);
  // From the same formulas in the specification, not published.
  EXPECT_EQ(total("4", {}), 659968u);
  EXPECT_EQ(total("16x4", {}), 2770688u);
  EXPECT_EQ(total("64", {}), 8570368u);
  EXPECT_EQ(total("4x4x4", {.outputs = 8, .place_table = false}), 1647368u);
  EXPECT_EQ(total("4x4x16", {.width = 1024, .outputs = 8, .place_table = false}), 50641928u);
}

// The table of the specification, section 3.6, in thousands of multiplications for each character.
TEST(autoencoder_size, has_the_specified_cost_for_each_character) {
  const auto thousands = [](const char* name, uint32_t outputs) {
    const AutoencoderShape shape{.chain = parse_chain(name), .outputs = outputs};
    return static_cast<double>(count_multiplications(shape).total()) / shape.chain.block_characters() / 1000;
  };
  EXPECT_NEAR(thousands("4", 256), 786, 0.5);
  EXPECT_NEAR(thousands("4x4", 256), 918, 0.5);
  EXPECT_NEAR(thousands("16", 256), 786, 0.5);
  EXPECT_NEAR(thousands("4x4x4", 256), 950, 0.5);
  EXPECT_NEAR(thousands("4x16", 256), 918, 0.5);
  EXPECT_NEAR(thousands("16x4", 256), 819, 0.5);
  EXPECT_NEAR(thousands("64", 256), 786, 0.5);
  EXPECT_NEAR(thousands("64", 8), 533, 0.6);
  EXPECT_NEAR(thousands("4x4x4", 8), 696, 0.5);
  const AutoencoderCost cost = count_multiplications({.chain = parse_chain("4x4x4")});
  EXPECT_NEAR(static_cast<double>(cost.head) / 16, 262e3, 500);
}

// As first published the decoder of 4x16 makes 4 vectors and then 16 bytes of each: 4 * 65536 * (1 + 16) against
// 16 * 65536 * (1 + 4) of the mirrored one.
TEST(autoencoder_size, counts_both_orders_of_the_decoder) {
  const AutoencoderShape shape{.chain = parse_chain("4x16")};
  EXPECT_EQ(count_multiplications(shape).decoder, uint64_t{16} * 65536 * 5);
  EXPECT_EQ(count_multiplications(shape, DecoderOrder::kAsTheEncoder).decoder, uint64_t{4} * 65536 * 17);
  EXPECT_EQ(count_multiplications(shape).encoder, uint64_t{16} * 65536 * 5);
}

TEST(autoencoder_size, refuses_shapes_that_cannot_be) {
  EXPECT_THROW((void)count_parameters({.chain = {}}), InputError);
  EXPECT_THROW((void)count_parameters({.width = 0}), InputError);
  EXPECT_THROW((void)count_parameters({.width = 1 << 20}), InputError);
  EXPECT_THROW((void)count_multiplications({.outputs = 0}), InputError);
}

}  // namespace
}  // namespace verbatim
