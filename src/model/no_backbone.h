#pragma once

#include "model/backbone.h"

namespace verbatim {

// Vectors pass as they are: encoder and decoder alone, an autoencoder.
class NoBackbone final : public Backbone {
 public:
  explicit NoBackbone(int64_t width) : width_(width) {}

  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& /*rows*/,
                                   const ForwardOptions& options) override {
    return x_ND.scalar_type() == at::kDouble ? x_ND : x_ND.to(options.compute_type);
  }
  [[nodiscard]] BackboneState start() const override { return {}; }
  void advance(float* /*x_RD*/, const StreamRows& /*rows*/, std::span<BackboneState*> /*states*/) override {}
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override {
    return {.multiplications = 0, .innermost_rows = static_cast<double>(rows.count())};
  }
  [[nodiscard]] StackMemory memory() const override { return {}; }

 private:
  int64_t width_;
};

}  // namespace verbatim
