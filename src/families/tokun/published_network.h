#pragma once

#include "families/tokun/block_network.h"
#include "model/weights.h"

namespace verbatim {

// The autoencoder as the project tokun published it (specification of the family, section 3): one width E everywhere,
// no residual paths.
//   encoder level:  norm, groups of G, + places, attention, concatenate, dense G*E -> E, activation
//   decoder level:  dense E -> G*E, activation, split, + places, attention, norm
// The table of byte values is a dense layer without bias on one-hot vectors there, which is the same.
struct PublishedLevel {
  int64_t factor = 0;
  at::Tensor gain_E, offset_E;  // undefined: a norm without them
  at::Tensor places_GE;         // undefined: none
  LinearWeights dense;
};

// What both halves do alike.
class PublishedSteps {
 public:
  explicit PublishedSteps(const TokunEncoderSettings& settings);
  [[nodiscard]] PublishedLevel add_level(torch::nn::Module& owner, const std::string& name, int64_t factor, int64_t in,
                                         int64_t out, at::Generator& generator) const;
  [[nodiscard]] at::Tensor norm(const at::Tensor& x_ME, const PublishedLevel& level) const;
  // Places and attention of groups. x [M, G, E]
  [[nodiscard]] at::Tensor mix(at::Tensor x_MGE, const PublishedLevel& level) const;
  // Dense layer and activation, computed in `type`; float32 (or double) in and out.
  [[nodiscard]] at::Tensor dense(const at::Tensor& x, const PublishedLevel& level, at::ScalarType type) const;

 private:
  std::string activation_;
  int64_t width_;
  bool normalizes_, has_gain_, attends_, has_places_;
};

class PublishedEncoder final : public BlockEncoderNetwork {
 public:
  PublishedEncoder(const TokunEncoderSettings& settings, at::Generator& generator);
  [[nodiscard]] at::Tensor forward(const PositionBatch& batch, at::ScalarType type) override;
  [[nodiscard]] double multiplications() const override;
  // The vectors behind each level of some bytes [N, T] int64.
  [[nodiscard]] std::vector<at::Tensor> levels_of(const at::Tensor& bytes_NT, at::ScalarType type) const;

 private:
  PublishedSteps steps_;
  int64_t block_bytes_;
  at::Tensor table_UE_;
  std::vector<PublishedLevel> levels_;
};

class PublishedDecoder final : public BlockDecoderNetwork {
 public:
  PublishedDecoder(const TokunEncoderSettings& settings, at::Generator& generator);
  [[nodiscard]] BlockLogits forward(const at::Tensor& z_NL, at::ScalarType type) override;
  [[nodiscard]] double multiplications() const override;

 private:
  PublishedSteps steps_;
  bool bits_;
  std::vector<PublishedLevel> levels_;
  LinearWeights head_;
};

}  // namespace verbatim
