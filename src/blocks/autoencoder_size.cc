#include "blocks/autoencoder_size.h"

#include <algorithm>

#include "base/error.h"

namespace verbatim {
namespace {

constexpr uint64_t kByteValues = 256;
constexpr uint32_t kMostWidth = 1 << 16;

void check_shape(const AutoencoderShape& shape) {
  check_chain(shape.chain);
  if (shape.width == 0 || shape.width > kMostWidth) {
    throw_input("a tokun model of width {}: expected 1 to {}", shape.width, kMostWidth);
  }
  if (shape.outputs == 0 || shape.outputs > kMostWidth) {
    throw_input("a tokun model with {} outputs for a byte: expected 256 (values) or 8 (bits)", shape.outputs);
  }
}

}  // namespace

uint64_t AutoencoderParameters::encoder() const {
  uint64_t sum = table;
  for (const BlockParameters& block : blocks) sum += block.encoder;
  return sum;
}

uint64_t AutoencoderParameters::decoder() const {
  uint64_t sum = head;
  for (const BlockParameters& block : blocks) sum += block.decoder;
  return sum;
}

AutoencoderParameters count_parameters(const AutoencoderShape& shape) {
  check_shape(shape);
  const uint64_t width = shape.width;
  const uint64_t norm = shape.normalize && shape.normalize_gain ? 2 * width : 0;
  AutoencoderParameters parameters;
  parameters.table = kByteValues * width;
  parameters.head = width * shape.outputs + shape.outputs;
  for (const uint32_t factor : shape.chain.factors) {
    const uint64_t joined = factor * width;
    const uint64_t places = shape.place_table ? joined : 0;
    parameters.blocks.push_back({.factor = factor,
                                 .encoder = joined * width + width + places + norm,
                                 .decoder = width * joined + joined + places + norm});
  }
  return parameters;
}

AutoencoderCost count_multiplications(const AutoencoderShape& shape, DecoderOrder order) {
  check_shape(shape);
  const uint64_t width = shape.width;
  const uint64_t bytes = shape.chain.block_bytes();
  AutoencoderCost cost{.head = bytes * width * shape.outputs};
  uint64_t vectors = bytes;
  for (const uint32_t factor : shape.chain.factors) {
    vectors /= factor;
    cost.encoder += vectors * factor * width * width;
  }
  std::vector<uint32_t> factors = shape.chain.factors;
  if (order == DecoderOrder::kMirrored) std::reverse(factors.begin(), factors.end());
  vectors = 1;
  for (const uint32_t factor : factors) {
    cost.decoder += vectors * factor * width * width;
    vectors *= factor;
  }
  return cost;
}

}  // namespace verbatim
