#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "families/tokun/tokun_settings.h"
#include "model/decoder.h"
#include "model/positions.h"

namespace verbatim {

// The two halves of an autoencoder of blocks. N blocks, T bytes of UTF-32 in each, L the width of a block's vector.

// Blocks to vectors.
class BlockEncoderNetwork : public torch::nn::Module {
 public:
  // [N, L] float32 (double where the weights are). Dense layers compute in `type`.
  [[nodiscard]] virtual at::Tensor forward(const PositionBatch& batch, at::ScalarType type) = 0;
  // The same for blocks that are no text: keeps nothing for texts to come.
  [[nodiscard]] virtual at::Tensor computed(const PositionBatch& batch, at::ScalarType type) {
    return forward(batch, type);
  }
  // Of one block, dense layers only.
  [[nodiscard]] virtual double multiplications() const = 0;
};

// What a decoder says of some bytes of all blocks: row r of the logits is about byte r * stride + first of the N * T.
struct ByteLogits {
  at::Tensor logits_RV;  // V: values of the byte from 0 up, or its 8 bits, the most significant first
  int64_t first = 0;
  int64_t stride = 1;
  bool bits = false;
};

// Vectors to blocks, every byte by itself.
class BlockDecoderNetwork : public torch::nn::Module {
 public:
  // Together about all bytes but those that are always 0. z [N, L].
  [[nodiscard]] virtual std::vector<ByteLogits> forward(const at::Tensor& z_NL, at::ScalarType type) = 0;
  [[nodiscard]] virtual double multiplications() const = 0;
  // The bytes of blocks that this makes most likely, [N, block_bytes] uint8.
  [[nodiscard]] virtual at::Tensor most_likely(const at::Tensor& z_NL, at::ScalarType type, int64_t block_bytes);
};

// Draws the weights. The halves of one autoencoder come from the same settings.
[[nodiscard]] std::shared_ptr<BlockEncoderNetwork> make_block_encoder(const TokunEncoderSettings& settings,
                                                                      at::Generator& generator);
[[nodiscard]] std::shared_ptr<BlockDecoderNetwork> make_block_decoder(const TokunEncoderSettings& settings,
                                                                      const TokunDecoderSettings& decoder,
                                                                      at::Generator& generator);

// Nats of the blocks, [N] float32; 0 for rows of -1. bytes [N, T] int64.
[[nodiscard]] at::Tensor nats_of_blocks(const std::vector<ByteLogits>& heads, const at::Tensor& bytes_NT);
// The most likely bytes, [N, T] uint8.
[[nodiscard]] at::Tensor most_likely_blocks(const std::vector<ByteLogits>& heads, int64_t blocks, int64_t block_bytes);
// The bytes of one block (N = 1), [T], each chosen by itself.
[[nodiscard]] std::vector<uint8_t> choose_block(const std::vector<ByteLogits>& heads, int64_t block_bytes,
                                                Chooser& chooser);

}  // namespace verbatim
