#pragma once

#include "model/backbone.h"
#include "model/mixer.h"
#include "model/position_table.h"

namespace verbatim {

// Pre-norm layers: x += mixer(norm(x)), and for most kinds x += W2 swiglu(norm(x)). The mixer is attention (layers of
// the Llama shape, Touvron et al. 2023), Mamba-1 or Mamba-2, as the letters of the pattern say (backbone_settings.h).
// Parameters carry Llama's names, layers.N.self_attn.q_proj.weight and so on, and layers.N.mixer.* for Mamba. Initial
// weights: normal with deviation fan_in^-1/2, those that write to the residual stream divided by the root of their
// number.
class LayerStack : public torch::nn::Module {
 public:
  // One letter for each layer.
  LayerStack(StackSettings settings, std::string kinds, at::Generator& generator);

  [[nodiscard]] Residual forward(const at::Tensor& x_ND, const nn::Sequences& sequences, const ForwardOptions& options);
  // Adds the layers' updates to x [R, D] in place. `first_layer` is the place of this stack's first layer in the
  // memories of each state.
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states, size_t first_layer);
  // The same where streams are cut into pieces that do not see each other: row r with begins[r] != 0 starts the next
  // piece of its stream. All layers of the states are this stack's.
  void advance_pieces(float* x_RD, std::span<const int64_t> stream, std::span<const uint8_t> begins,
                      std::span<BackboneState*> states);

  [[nodiscard]] const StackSettings& settings() const { return settings_; }
  [[nodiscard]] int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  // Multiplications of a forward pass.
  [[nodiscard]] double cost(const nn::Sequences& sequences) const;
  // What a stream and a row take in memory.
  [[nodiscard]] StackMemory memory() const;

 private:
  struct Layer {
    Norm input_norm;
    std::shared_ptr<Mixer> mixer;
    bool has_mlp = true;
    Norm post_norm;
    LinearWeights gate, up, down;  // without a gate: `up` alone
  };
  [[nodiscard]] std::vector<at::Tensor> run_layer(const Layer& layer, const at::Tensor& stream_ND,
                                                  const at::Tensor& delta_ND, const nn::Sequences& sequences,
                                                  at::ScalarType type) const;
  void advance_mlp(const Layer& layer, const float* normed_RD, float* delta_RD, int64_t count) const;
  // norm(x) of the next rows of streams, with the token shift where there is one; `part` 0: in front of the mixer, 1:
  // of the MLP.
  void advance_norm(const Norm& norm, const float* x_RD, float* normed_RD, const StreamRows& rows,
                    std::span<BackboneState*> states, size_t layer, int64_t part) const;

  StackSettings settings_;
  std::vector<Layer> layers_;
};

// The backbone of the baselines and of the innermost level: a stack, with learned positions in front and a closing norm
// behind where the settings say so.
class StackBackbone final : public Backbone {
 public:
  StackBackbone(const BackboneSettings& settings, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return stack_->settings().width; }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;
  [[nodiscard]] StackMemory memory() const override { return stack_->memory(); }

 private:
  std::shared_ptr<LayerStack> stack_;
  PositionTable positions_;
  bool has_norm_;
  Norm norm_;  // undefined without a closing norm
};

}  // namespace verbatim
