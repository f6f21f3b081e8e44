#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "model/backbone.h"
#include "model/weights.h"

namespace verbatim {

// What a layer does between rows: attention, or a state-space model. Rows in, rows out, causal, each sequence by
// itself.
class Mixer : public torch::nn::Module {
 public:
  // x [N, D] normalised, in the compute type; returns what the residual stream gains, in the same type.
  [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x_ND, const nn::Sequences& sequences) const = 0;
  // The same for the next rows of streams, float32 on the CPU: x and delta [R, D]. `layer` is this layer's place in the
  // states' memories.
  virtual void advance(const float* x_RD, float* delta_RD, const StreamRows& rows, std::span<BackboneState*> states,
                       size_t layer) const = 0;

  // Multiplications of a forward pass.
  [[nodiscard]] virtual double cost(const nn::Sequences& sequences) const = 0;
  // Floats that a stream keeps: for each row read, and once.
  [[nodiscard]] virtual double floats_per_row() const { return 0; }
  [[nodiscard]] virtual double floats_per_stream() const { return 0; }
  // Floats kept for the backward pass, for each row.
  [[nodiscard]] virtual double saved_per_row() const = 0;
};

// `residual_scale` multiplies the deviation of the weights that write to the residual stream.
[[nodiscard]] std::shared_ptr<Mixer> make_attention(const StackSettings& settings, double residual_scale,
                                                    at::Generator& generator);
// Mamba-1 (Gu and Dao 2023, arXiv 2312.00752) and Mamba-2 (Dao and Gu 2024, arXiv 2405.21060), with their published
// names of parameters and initial values.
[[nodiscard]] std::shared_ptr<Mixer> make_mamba1(const StackSettings& settings, double residual_scale,
                                                 at::Generator& generator);
[[nodiscard]] std::shared_ptr<Mixer> make_mamba2(const StackSettings& settings, double residual_scale,
                                                 at::Generator& generator);

}  // namespace verbatim
