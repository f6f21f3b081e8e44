#pragma once

#include "families/tokun/block_network.h"
#include "families/tokun/tokun_segmenter.h"
#include "model/decoder.h"
#include "model/layer_stack.h"
#include "model/weights.h"

namespace verbatim {

// Vectors to blocks of characters. In a language model the vector of a row becomes the vector of the block that comes
// next; alone it is that of the row's own block.
//
// Likelihood: exact under the decoder. All at once: the product over the bytes of the block, its padding included,
// which says where it ends; the end of the document is a block of padding alone. One after the other: the product over
// the symbols of block_symbols.h, of which only those that can come next share the probability.
class TokunDecoder : public TextDecoder {
 public:
  [[nodiscard]] Likelihood likelihood() const override { return Likelihood::kExact; }
  [[nodiscard]] at::Tensor nats(const at::Tensor& h_ND, const PositionBatch& batch) override;
  // Blocks are no fixed list.
  [[nodiscard]] std::vector<float> scores(std::span<const float> /*h_D*/) override { return {}; }
  [[nodiscard]] double learning_rate_factor(std::string_view parameter) const override;
  [[nodiscard]] double multiplications_per_row() const override;

  // The most likely blocks of UTF-32-BE bytes, [N, T] uint8 on the CPU (symbol by symbol where they are written so).
  [[nodiscard]] at::Tensor reconstruct(const at::Tensor& h_ND, at::ScalarType type = at::kFloat);
  [[nodiscard]] int64_t block_bytes() const { return block_bytes_; }
  // Units that were no characters and became U+FFFD, in all that was chosen so far.
  [[nodiscard]] int64_t replaced() const { return replaced_; }

 protected:
  // `width`: of the backbone; 0: none, the model is an autoencoder.
  TokunDecoder(const TokunEncoderSettings& settings, int64_t width, at::Generator& generator);
  void keep_frozen();

  [[nodiscard]] virtual at::Tensor nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type,
                                                   const PositionBatch& batch) = 0;
  [[nodiscard]] virtual at::Tensor blocks_of_vectors(const at::Tensor& z_NL, at::ScalarType type) = 0;
  [[nodiscard]] virtual double multiplications_per_block() const = 0;
  // [N, L] float32 (or double)
  [[nodiscard]] at::Tensor vectors_of(const at::Tensor& h_ND) const;
  [[nodiscard]] at::Tensor vector_of_row(std::span<const float> h_D) const;

  TokunEncoderSettings settings_;
  int64_t block_bytes_;
  int64_t replaced_ = 0;

 private:
  LinearWeights project_;  // [L, D] in a language model
};

// All bytes of a block at once, each by itself.
class WholeBlockDecoder final : public TokunDecoder {
 public:
  WholeBlockDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder, int64_t width,
                    at::Generator& generator, const std::shared_ptr<BlockEncoderNetwork>& encoder);
  // With characters that are known as wholes: the likelihood, and that of these among each other besides.
  [[nodiscard]] at::Tensor training_loss(const at::Tensor& h_ND, const PositionBatch& batch) override;
  [[nodiscard]] bool trains_on_likelihood() const override { return settings_.characters == 0; }
  [[nodiscard]] NextPosition choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) override;
  [[nodiscard]] BlockDecoderNetwork& network() { return *network_; }

 private:
  [[nodiscard]] at::Tensor nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type,
                                           const PositionBatch& batch) override;
  [[nodiscard]] at::Tensor blocks_of_vectors(const at::Tensor& z_NL, at::ScalarType type) override;
  [[nodiscard]] double multiplications_per_block() const override { return network_->multiplications(); }
  [[nodiscard]] at::Tensor nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type, const PositionBatch& batch,
                                           bool both_ways);
  // [N]: of the known characters, from those beside each. Undefined: the network does not say.
  [[nodiscard]] at::Tensor nats_beside(const PositionBatch& batch, at::ScalarType type);

  std::shared_ptr<BlockDecoderNetwork> network_;
  const KnownCharacters* known_;  // the encoder's, which the network keeps; null: none
};

// The symbols of a block one after the other: a little transformer that sees the block's vector, what it has written of
// the block and, with decoder.recent, the last symbols in front of it.
class SymbolBlockDecoder final : public TokunDecoder {
 public:
  SymbolBlockDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder, int64_t width,
                     at::Generator& generator);
  [[nodiscard]] NextPosition choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) override;
  void note(DecoderState& state, const std::vector<int32_t>& ids) const override;

 private:
  [[nodiscard]] at::Tensor nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type,
                                           const PositionBatch& batch) override;
  [[nodiscard]] at::Tensor blocks_of_vectors(const at::Tensor& z_NL, at::ScalarType type) override;
  [[nodiscard]] double multiplications_per_block() const override;
  // The units of some blocks, from their vectors; none at the end of the document. `recent`: the last symbols in front
  // of all of them.
  [[nodiscard]] std::vector<std::vector<int32_t>> write_blocks(const float* z_NL, int64_t count,
                                                               const std::vector<int32_t>& recent, Chooser& chooser);
  // Which rows of recent_ the last symbols have, [recent_count_], -1 in front of the text.
  void append_recent(std::span<const int32_t> symbols, std::vector<int64_t>& index) const;

  BlockOptions blocks_;
  int64_t width_;
  int64_t recent_count_;
  LinearWeights context_;  // [W, L]
  at::Tensor recent_RW_;   // [recent_count_ * S, W]: a table for each place in front of the block, the nearest first
  at::Tensor table_SW_;    // of symbols, and of the start
  std::shared_ptr<StackBackbone> stack_;
  LinearWeights head_;  // [S, W]
};

}  // namespace verbatim
