#pragma once

#include "model/boundaries.h"
#include "model/layer_stack.h"

namespace verbatim {

// A level over groups of P rows whose patch vector is the concatenation of the bytes' own vectors: the MegaByte that
// SpaceByte is compared with (Slagle 2024, arXiv 2404.14408, appendix; after Yu et al. 2023, arXiv 2305.07185).
//
//   y[0] = inner_pad,  y[k] = [byte vectors of rows kP-P+1 .. kP, each of width I / P, plus their positions]
//   z = inner(y),  m[kP + j] = W (slice j of z[k]) + b
//   v[t] = x[t] + local position of t mod P, the learned `pad` where t mod P is 0
//   out = norm(layers(v + m)), layers inside [kP, kP + P) only
//
// So the byte of a row kP reaches its patch through the inner backbone, which has read it, and rows behind it see the
// rest of the patch directly. The first row of a sequence is not read at all. Row 0 of a document is its start row.
class GroupedLevel final : public Backbone {
 public:
  GroupedLevel(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return settings_.width(); }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;
  [[nodiscard]] StackMemory memory() const override;
  [[nodiscard]] const Backbone* inner() const override { return inner_.get(); }
  [[nodiscard]] Rows inner_rows(const Rows& rows) const override { return find_patches(boundary_, rows).inner; }

 private:
  // [K, I]: what the inner backbone reads.
  [[nodiscard]] at::Tensor patch_vectors(const Patches& patches, const Rows& rows, const at::Device& device) const;
  // The same for the patch that ends with the newest of the recent bytes; `patch` counts from the sequence's start.
  void patch_vector(const std::vector<uint16_t>& recent, int64_t patch, float* y_I) const;

  BackboneSettings settings_;
  BoundaryRule boundary_;
  std::shared_ptr<Backbone> inner_;
  std::shared_ptr<LayerStack> after_;
  at::Tensor table_;               // [256, I/P]
  PositionTable inner_positions_;  // of bytes, [positions, I/P]
  PositionTable local_positions_;  // [P, D]
  at::Tensor inner_pad_, pad_;     // [I], [D]
  LinearWeights down_;             // I/P to D
  Norm norm_;
};

}  // namespace verbatim
