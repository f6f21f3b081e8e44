#pragma once

#include "model/boundaries.h"
#include "model/layer_stack.h"

namespace verbatim {

// A backbone that compresses: layers before, boundaries, pooling of each patch into one vector, an inner backbone over
// the patches, upsampling to the rows that follow each boundary, layers after. Vectors in, vectors out, causal: a row
// sees patches that ended at or before it. SpaceByte and BLT are settings of it (MEGABYTE: megabyte.h); a Level inside
// a Level nests.
class Level final : public Backbone {
 public:
  Level(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return settings_.width(); }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;

  [[nodiscard]] StackMemory memory() const override;
  [[nodiscard]] const Backbone* inner() const override { return inner_.get(); }
  [[nodiscard]] Rows inner_rows(const Rows& rows) const override { return find_patches(boundary_, rows).inner; }
  [[nodiscard]] uint8_t marks() const override { return boundary_.marks(); }

 private:
  [[nodiscard]] at::Tensor pool(const at::Tensor& h_ND, const Patches& patches, at::ScalarType type) const;
  [[nodiscard]] at::Tensor upsample(const at::Tensor& h_ND, const at::Tensor& z_KI, const Patches& patches,
                                    at::ScalarType type) const;
  // The stepwise twins: one patch, one row.
  void pool_open_patch(const BackboneState& state, float* pooled_I) const;
  void open_row(BackboneState& state, const float* h_D) const;
  void apply_above(const BackboneState& state, bool at_boundary, float* h_D) const;

  BackboneSettings settings_;
  BoundaryRule boundary_;
  std::shared_ptr<Backbone> inner_;
  std::shared_ptr<LayerStack> before_;
  std::shared_ptr<LayerStack> after_;
  PositionTable positions_;
  Norm norm_;             // closing
  at::Tensor pool_norm_;  // [D] before the projection to the inner width; undefined with pool "padded"
  at::Tensor down_;       // [I, D] or [I, q D]
  at::Tensor up_;         // [D, I] or [q D, I]; undefined with upsample "tail"
  struct Cross {
    at::Tensor query_norm, key_norm, query, key_value, output;
  };
  at::Tensor seed_;  // [q D, D]: the queries of a patch from the mean of its rows
  Cross pool_cross_, up_cross_;
};

}  // namespace verbatim
