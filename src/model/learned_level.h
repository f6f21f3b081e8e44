#pragma once

#include "model/boundaries.h"
#include "model/layer_stack.h"

namespace verbatim {

// A level that learns where its patches begin (H-Net, Hwang et al. 2025, arXiv 2507.07955, section 2): a boundary is
// where neighbouring rows stop being similar. The rows at boundaries go to the inner backbone as they are; its answers
// come back as a moving average, weighted by how sure each boundary was, beside a projected copy of the rows
// themselves.
//
//   h = norm(before(x)),  p[t] = (1 - cos(Wq h[t-1], Wk h[t])) / 2,  p = 1 at the start,  boundary where p > 1/2
//   z = inner(h at boundaries),  e[k] = p[k] z[k] + (1 - p[k]) e[k-1]
//   v[t] = e[newest patch at t] + W h[t] + b,  y = norm(after(v))
//
// The inner backbone may be wider: a learned vector fills its rows up, and the first columns of its answer come back. A
// LearnedLevel or a Level inside nests. With hints, marks of the text (sentence ends) are offered to the boundaries: p
// gains a learned amount where one is, and hint_weight > 0 teaches the level to cut there.
class LearnedLevel final : public Backbone {
 public:
  LearnedLevel(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return settings_.width(); }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;
  [[nodiscard]] StackMemory memory() const override;
  [[nodiscard]] const Backbone* inner() const override { return inner_.get(); }
  // As many rows as patches came in the latest forward pass, or as the target says; their places are made up.
  [[nodiscard]] Rows inner_rows(const Rows& rows) const override;
  [[nodiscard]] bool learns_boundaries() const override { return true; }
  [[nodiscard]] uint8_t marks() const override { return hint_; }

 private:
  // [N] float32 (or double): the probability of a boundary at each row.
  [[nodiscard]] at::Tensor boundary_probability(const at::Tensor& h_ND, const Rows& rows) const;
  // What is added to the training loss for each target.
  [[nodiscard]] at::Tensor boundary_loss(const at::Tensor& probability_N, const std::vector<uint8_t>& boundary,
                                         const Rows& rows) const;
  [[nodiscard]] std::vector<int64_t> hinted_rows(const Rows& rows) const;

  BackboneSettings settings_;
  uint8_t hint_ = 0;  // the TextMark that is offered; 0: none
  std::shared_ptr<Backbone> inner_;
  std::shared_ptr<LayerStack> before_, after_;
  Norm before_norm_, after_norm_;
  LinearWeights query_, key_, residual_;
  at::Tensor pad_;         // [I - D]; undefined when the inner backbone is as wide
  at::Tensor offset_;      // [1] what p gains at a hint; undefined without hints
  double rows_per_patch_;  // of the latest forward pass
};

}  // namespace verbatim
