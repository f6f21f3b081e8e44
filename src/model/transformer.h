#pragma once

#include <torch/nn/module.h>

#include <vector>

#include "model/backbone.h"

namespace verbatim {

// While one lives on a thread, models made there have shapes but no weights: to count the parameters of a model that is
// larger than memory.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
  [[nodiscard]] static bool active();
};

// A weight matrix [E, D] drawn from a normal distribution with the given deviation, cut at three deviations.
[[nodiscard]] at::Tensor initial_weight(int64_t out, int64_t in, double deviation, at::Generator& generator);

// RMSNorm, or LayerNorm when there is a shift.
struct Norm {
  at::Tensor gain_D;
  at::Tensor shift_D;  // undefined: RMSNorm
  double epsilon = 1e-5;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_ND, at::ScalarType type) const;
  // {x + delta, its norm}
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> add(const at::Tensor& x_ND, const at::Tensor& delta_ND,
                                                      at::ScalarType type) const;
  // Row by row, float32 on the CPU; x and y may be the same.
  void rows(const float* x_RD, float* y_RD, int64_t count) const;
};

// y = W x (+ b). Weight [E, D]; the bias may be undefined.
struct LinearWeights {
  at::Tensor weight_ED, bias_E;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_ND) const;
  void rows(const float* x_RD, float* y_RE, int64_t count) const;
};

// What a stack hands on: the residual stream, and what its last layer still has to add to it. Kept apart so that the
// addition happens inside the norm that follows.
struct Residual {
  at::Tensor stream_ND;  // float32
  at::Tensor delta_ND;   // compute type; undefined: nothing to add

  [[nodiscard]] at::Tensor sum() const;
  [[nodiscard]] at::Tensor normed(const Norm& norm, at::ScalarType type) const;
};

// Pre-norm transformer layers of the Llama shape (Touvron et al. 2023): x += Wo attention(norm(x)), x += W2
// swiglu(norm(x)); the settings may ask for LayerNorm, GELU (erf) and biases instead. Parameters carry Llama's names:
// layers.N.self_attn.q_proj.weight and so on, rotary in the "rotate half" order. Initial weights: normal with deviation
// fan_in^-1/2, the two that write to the residual stream divided by sqrt(2 layers).
class TransformerStack : public torch::nn::Module {
 public:
  TransformerStack(StackSettings settings, int64_t layers, at::Generator& generator);

  [[nodiscard]] Residual forward(const at::Tensor& x_ND, const nn::Sequences& sequences, const ForwardOptions& options);
  // Adds the layers' updates to x [R, D] in place. `first_cache` is the index of this stack's first cache in each
  // state.
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states, size_t first_cache);

  [[nodiscard]] const StackSettings& settings() const { return settings_; }
  [[nodiscard]] int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  // Multiplications of a forward pass.
  [[nodiscard]] double cost(const nn::Sequences& sequences) const;

 private:
  struct Layer {
    Norm input_norm, post_norm;
    LinearWeights query, key, value, output, gate, up, down;  // without a gate: `up` alone
  };
  [[nodiscard]] std::vector<at::Tensor> run_layer(const Layer& layer, const at::Tensor& stream, const at::Tensor& delta,
                                                  const nn::Sequences& sequences, at::ScalarType type) const;

  StackSettings settings_;
  std::vector<Layer> layers_;
};

// The backbone of the baselines and of the innermost level: a stack with a closing norm.
class Transformer final : public Backbone {
 public:
  Transformer(const StackSettings& settings, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return settings_.width; }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;

 private:
  StackSettings settings_;
  std::shared_ptr<TransformerStack> stack_;
  Norm norm_;
};

}  // namespace verbatim
