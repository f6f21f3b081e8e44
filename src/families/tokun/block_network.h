#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "families/tokun/known_characters.h"
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
  // In training, before its blocks are encoded: the characters of a text that may get rows of their own.
  virtual void learn(std::span<const int32_t> /*units*/) {}
  // In training: some of those that have count as unknown until the next call, or until it is told to evaluate.
  virtual void hide(double /*chance*/, at::Generator& /*generator*/) {}
  // Those that have; null: none ever do.
  [[nodiscard]] virtual const KnownCharacters* known() const { return nullptr; }
  // [K, C]: their vectors, by themselves.
  [[nodiscard]] virtual at::Tensor known_vectors(at::ScalarType /*type*/) { return {}; }
  // The vector of a block is a sum over its P characters, brought to mean square 1.
  [[nodiscard]] virtual bool adds_up() const { return false; }
  // What each character of such blocks adds, [N, P, L] float32, and each known one in one of the places, [K, L].
  [[nodiscard]] virtual at::Tensor parts(const PositionBatch& /*batch*/) { return {}; }
  [[nodiscard]] virtual at::Tensor known_parts(int64_t /*place*/, at::ScalarType /*type*/) { return {}; }
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

// What a decoder says of N blocks of P characters, in two ways: byte by byte, and among characters that it knows as
// wholes. How far the second is to be trusted is said of each place: a character's probability is the sum of both ways.
struct BlockLogits {
  std::vector<ByteLogits> bytes;
  // Undefined and null where none are known.
  at::Tensor known_MK;                     // [N * P, K], see known_characters.h
  at::Tensor trust_M;                      // [N * P], of the logistic function
  const KnownCharacters* known = nullptr;  // what the columns stand for
};

// Vectors to blocks, every character by itself.
class BlockDecoderNetwork : public torch::nn::Module {
 public:
  // Bytes: together about all but those that are always 0. z [N, L].
  [[nodiscard]] virtual BlockLogits forward(const at::Tensor& z_NL, at::ScalarType type) = 0;
  [[nodiscard]] virtual double multiplications() const = 0;
  // How many characters on each side of a place say what is likely there, of those that are known; 0: none do.
  [[nodiscard]] virtual int64_t reach_beside() const { return 0; }
  // What they say: [G, Q, K], of texts of Q characters by their rows, [G, Q] int64, -1 for others.
  [[nodiscard]] virtual at::Tensor likely_beside(const at::Tensor& /*row_GQ*/, at::ScalarType /*type*/) { return {}; }
  // The bytes of blocks that this makes most likely, [N, block_bytes] uint8.
  [[nodiscard]] virtual at::Tensor most_likely(const at::Tensor& z_NL, at::ScalarType type, int64_t block_bytes);
};

// Draws the weights. The halves of one autoencoder come from the same settings; with encoder.characters the decoder
// needs the encoder, too.
[[nodiscard]] std::shared_ptr<BlockEncoderNetwork> make_block_encoder(const TokunEncoderSettings& settings,
                                                                      at::Generator& generator);
[[nodiscard]] std::shared_ptr<BlockDecoderNetwork> make_block_decoder(
    const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder, at::Generator& generator,
    std::shared_ptr<BlockEncoderNetwork> encoder = {});

// Nats of the blocks, [N] float32; 0 for rows of -1. bytes [N, T] int64. `both_ways`: plus those of each way
// alone, to learn from: else the way that is better at first is all that is ever trusted and learnt.
[[nodiscard]] at::Tensor nats_of_blocks(const BlockLogits& said, const at::Tensor& bytes_NT, bool both_ways = false);
// The most likely bytes, [N, T] uint8.
[[nodiscard]] at::Tensor most_likely_blocks(const BlockLogits& said, int64_t blocks, int64_t block_bytes);
// The bytes of one block (N = 1), [T], each character chosen by itself.
[[nodiscard]] std::vector<uint8_t> choose_block(const BlockLogits& said, int64_t block_bytes, Chooser& chooser);

}  // namespace verbatim
