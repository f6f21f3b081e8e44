#pragma once

#include "families/tokun/block_network.h"
#include "families/tokun/tokun_segmenter.h"
#include "model/encoder.h"
#include "model/weights.h"

namespace verbatim {

// Blocks of characters to vectors, through one half of an autoencoder and, in a language model, a matrix to the width
// of the backbone. Alone (backbone.kind = "none") the vector of a block is what the decoder makes the block of again.
class TokunEncoder final : public TextEncoder {
 public:
  // `width`: of the backbone; 0: none, the model is an autoencoder.
  TokunEncoder(const TokunEncoderSettings& settings, int64_t width, at::Generator& generator);

  [[nodiscard]] const Segmenter& segmenter() const override { return segmenter_; }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] Encoded encode(const PositionBatch& batch, at::ScalarType compute_type) override;
  void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                   float* out_RD) override;
  [[nodiscard]] double multiplications_per_row() const override;
  [[nodiscard]] double learning_rate_factor(std::string_view parameter) const override;

  [[nodiscard]] BlockEncoderNetwork& network() { return *network_; }
  [[nodiscard]] const std::shared_ptr<BlockEncoderNetwork>& shared_network() const { return network_; }

 private:
  // How likely known characters are mistaken for one another, with encoder.separation; a number.
  [[nodiscard]] at::Tensor confusion(const PositionBatch& batch, at::ScalarType type) const;
  // Adds noise to the vectors, in training. Deterministic: the same batch gets the same noise.
  [[nodiscard]] Encoded disturbed(Encoded encoded, const PositionBatch& batch) const;

  TokunEncoderSettings settings_;
  TokunSegmenter segmenter_;
  int64_t width_;
  std::shared_ptr<BlockEncoderNetwork> network_;
  LinearWeights deviation_;  // log of the variance of each number, with encoder.variational
  LinearWeights project_;    // [D, L] in a language model
};

}  // namespace verbatim
