#pragma once

#include <optional>
#include <vector>

#include "families/tokun/block_network.h"
#include "families/tokun/block_sums.h"
#include "families/tokun/character_context.h"
#include "families/tokun/known_characters.h"
#include "model/weights.h"

namespace verbatim {

// Our autoencoder of blocks. W: width of the vectors inside, L: of a block's.
//
// Each byte of a character has a table of its own for its place, so that no (place, value) pair is out of reach; a
// character is the sum of three rows (the first byte of UTF-32 is always 0), and its vector is computed once however
// often it comes. Every level joins the normalised vectors of a group with one matrix; behind each stands a residual
// gated layer. A block's vector is normalised: its numbers have mean square 1, whatever the weights, so noise of a
// given deviation means the same everywhere. The decoder is the mirror image and ends in one softmax for each byte.

// x + W2 swiglu(W1 norm(x))
class GatedLayer {
 public:
  GatedLayer() = default;
  // `hidden`: width between the two matrices. `reach`: rows on each side that W1 reads besides, as far as they belong
  // to the same group: characters of a block correct each other.
  GatedLayer(torch::nn::Module& owner, const std::string& name, int64_t width, int64_t hidden, at::Generator& generator,
             int64_t reach = 0);
  // Groups of `rows`; without reach every row is by itself.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_MW, at::ScalarType type, int64_t rows = 1) const;
  [[nodiscard]] double multiplications() const;

 private:
  int64_t reach_ = 0;
  Norm norm_;
  LinearWeights up_, down_;
};

// x + Wo attention(Wqkv norm(x)): the characters of a block look at each other, in both directions. What place a
// character has is part of its vector.
class MixingLayer {
 public:
  MixingLayer(torch::nn::Module& owner, const std::string& name, int64_t width, int64_t heads,
              at::Generator& generator);
  // Groups of `places` rows.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_MW, int64_t places, at::ScalarType type) const;
  [[nodiscard]] double multiplications() const;

 private:
  int64_t heads_;
  Norm norm_;
  LinearWeights query_, key_value_, out_;
};

class GatedEncoder final : public BlockEncoderNetwork {
 public:
  GatedEncoder(const TokunEncoderSettings& settings, at::Generator& generator);
  [[nodiscard]] at::Tensor forward(const PositionBatch& batch, at::ScalarType type) override;
  [[nodiscard]] at::Tensor computed(const PositionBatch& batch, at::ScalarType type) override;
  [[nodiscard]] double multiplications() const override;
  void learn(std::span<const int32_t> units) override { known_.learn(units); }
  void hide(double chance, at::Generator& generator) override { known_.hide(chance, generator); }
  [[nodiscard]] const KnownCharacters* known() const override { return known_.any() ? &known_ : nullptr; }
  [[nodiscard]] at::Tensor known_vectors(at::ScalarType type) override;
  [[nodiscard]] bool adds_up() const override;
  [[nodiscard]] at::Tensor parts(const PositionBatch& batch) override;
  [[nodiscard]] at::Tensor known_parts(int64_t place, at::ScalarType type) override;
  // Forgets what was kept for texts to come; the weights may change now.
  void train(bool on = true) override;

 private:
  [[nodiscard]] at::Tensor rows_of_bytes(const at::Tensor& bytes_M4, at::ScalarType type) const;
  // The vectors of characters by themselves. row_U: of the known ones, -1 for others. [U, W]
  [[nodiscard]] at::Tensor characters(const at::Tensor& bytes_U4, const at::Tensor& row_U, at::ScalarType type) const;
  [[nodiscard]] at::Tensor characters(const at::Tensor& bytes_U4, at::ScalarType type) const;
  // The result with the join looked up instead of multiplied, where that can be done; undefined elsewhere.
  [[nodiscard]] at::Tensor looked_up(const PositionBatch& batch, at::ScalarType type);

  struct Level {
    int64_t factor = 0;
    Norm norm;
    LinearWeights join;
    std::optional<GatedLayer> layer;
  };
  Chain chain_;
  int64_t block_bytes_;
  KnownCharacters known_;
  LinearWeights known_rows_;  // their rows to the width of a character's vector
  at::Tensor table_PW_;       // [P * 256, W], P places of the first level's bytes that are not always 0
  GatedLayer first_;
  std::vector<Level> levels_;  // from the second on
  std::unique_ptr<BlockSums> sums_;
  int64_t sums_version_ = 0;  // of the weights that they were made of
  at::ScalarType sums_type_ = at::kFloat;
};

class GatedDecoder final : public BlockDecoderNetwork {
 public:
  GatedDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder, at::Generator& generator,
               std::shared_ptr<BlockEncoderNetwork> encoder);
  [[nodiscard]] BlockLogits forward(const at::Tensor& z_NL, at::ScalarType type) override;
  // In stretches of characters that stay in the cache.
  [[nodiscard]] at::Tensor most_likely(const at::Tensor& z_NL, at::ScalarType type, int64_t block_bytes) override;
  [[nodiscard]] double multiplications() const override;
  [[nodiscard]] int64_t reach_beside() const override { return context_.reach(); }
  [[nodiscard]] at::Tensor likely_beside(const at::Tensor& row_GQ, at::ScalarType type) override;

 private:
  // [N * places, W]: what the first level of the chain is told of each of its vectors.
  [[nodiscard]] at::Tensor told_of_places(const at::Tensor& z_NL, at::ScalarType type) const;
  [[nodiscard]] BlockLogits logits_of_places(at::Tensor x_MW, at::ScalarType type) const;
  [[nodiscard]] at::Tensor known_rows(at::ScalarType type) const;
  [[nodiscard]] int64_t places() const { return chain_.block_bytes() / chain_.factors.front(); }

  struct Level {
    int64_t factor = 0;
    std::vector<GatedLayer> layers;
    Norm norm;
    LinearWeights split;
  };
  // Characters of a block see each other: all of them by attention, or those beside each in the layer itself.
  struct Mixing {
    std::optional<MixingLayer> attention;
    GatedLayer layer;
  };
  Chain chain_;
  bool bits_;
  std::vector<Level> levels_;  // the last one of the chain first
  std::vector<GatedLayer> last_;
  std::vector<Mixing> mixings_;
  Norm norm_;
  CharacterChoice choice_;
  CharacterContext context_;
  std::shared_ptr<BlockEncoderNetwork> encoder_;  // of the known characters; no part of this one
  mutable at::Tensor known_rows_KR_;              // kept while no weights change
  mutable int64_t known_version_ = 0;
  LinearWeights plane_, high_, low_;  // the second to the fourth byte of each character
};

}  // namespace verbatim
