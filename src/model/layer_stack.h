#pragma once

#include "model/backbone.h"
#include "model/mixer.h"

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

  StackSettings settings_;
  std::vector<Layer> layers_;
};

// The backbone of the baselines and of the innermost level: a stack with a closing norm.
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
  Norm norm_;
};

}  // namespace verbatim
