#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/backbone_settings.h"
#include "model/rows.h"
#include "nn/attention_cache.h"

namespace verbatim {

// What a backbone remembers of one stream. A value: copying forks the generation, a server holds many.
struct BackboneState {
  std::vector<nn::AttentionCache> caches;  // one for each attention layer of this backbone
  int64_t rows = 0;                        // rows read so far
  uint16_t last_symbol = kStartSymbol;     // of the row before
  std::vector<float> open_patch;           // Level: what pooling needs of the rows since the last boundary
  int64_t open_rows = 0;
  std::vector<float> above;          // Level: what the newest complete patch sends down
  std::vector<BackboneState> inner;  // Level: one, the state of the inner backbone
};

// How a forward pass computes. float64 exists for gradient checks.
struct ForwardOptions {
  at::ScalarType compute_type = at::kFloat;  // type of activations between layers: float32 or bfloat16
  bool checkpoint_gradients = false;         // recompute layers in the backward pass instead of keeping activations
};

// Rows that continue streams: row r belongs to stream[r]; rows of one stream stand in order.
struct StreamRows {
  std::span<const int64_t> stream;    // [R] index into the states
  std::span<const uint16_t> symbols;  // [R] as in Rows
};

// Counted on the rows of a real batch, so that patches count at the rate at which they come.
struct BackboneCost {
  double multiplications = 0;  // of weights and of attention
  double innermost_rows = 0;   // rows that the innermost backbone reads
};

// Vectors to vectors, causal: row i of the result depends on rows up to i of the same sequence. The same for all
// families. The result is normalised: decoders and levels project it without a norm of their own.
class Backbone : public torch::nn::Module {
 public:
  [[nodiscard]] virtual int64_t width() const = 0;
  // [N, D] to [N, D], in the compute type.
  [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) = 0;

  [[nodiscard]] virtual BackboneState start() const = 0;
  // The next rows of the streams: one row of many streams, many rows of one, or any mix. x is [R, D] float32 and is
  // overwritten with the result. Equal to forward() over the whole sequences. Runs on the CPU.
  virtual void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) = 0;

  // What a forward pass over these rows costs.
  [[nodiscard]] virtual BackboneCost cost(const Rows& rows) const = 0;
};

// Transformer or Level, as the settings say. `generator` draws the initial weights.
[[nodiscard]] std::shared_ptr<Backbone> make_backbone(const BackboneSettings& settings, at::Generator generator);

}  // namespace verbatim
