#include "families/tokun/character_context.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>

#include "nn/kernels/dense.h"

namespace verbatim {

namespace {

double fan_in(int64_t in) { return 1 / std::sqrt(static_cast<double>(in)); }

// Beside each place, the rows in front and behind it, the farthest in front first; -1 outside of its text. [G, Q, 2 *
// reach]
at::Tensor rows_beside(const at::Tensor& row_GQ, int64_t reach) {
  const at::Tensor padded = at::constant_pad_nd(row_GQ, {reach, reach}, -1);
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first <= 2 * reach; ++first) {
    if (first != reach) parts.push_back(padded.slice(1, first, first + row_GQ.size(1)));
  }
  return at::stack(parts, 2);
}

}  // namespace

CharacterContext::CharacterContext(torch::nn::Module& owner, const std::string& name, int64_t most, int64_t reach,
                                   int64_t width, int64_t hidden, at::Generator& generator)
    : reach_(most == 0 ? 0 : reach) {
  if (reach_ == 0) return;
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  rows_KR_ = holder->register_parameter("rows", initial_weight(most, width, fan_in(width), generator));
  bias_K_ = holder->register_parameter("bias", at::zeros({most}, rows_KR_.options()));
  norm_ = add_norm(*holder, "norm", width, NormKind::kRms, 1e-6);
  const int64_t read = 2 * reach * width;
  up_ = add_linear(*holder, "up", initial_weight(2 * hidden, read, fan_in(read), generator));
  down_ = add_linear(*holder, "down", initial_weight(width, hidden, fan_in(hidden), generator));
}

at::Tensor CharacterContext::logits(const at::Tensor& row_GQ, int64_t known, at::ScalarType type) const {
  const bool in_double = type == at::kDouble;
  const at::Tensor rows_KR = rows_KR_.slice(0, 0, known);
  const at::Tensor read_KR = norm_(rows_KR, in_double ? at::kDouble : at::kFloat);
  const at::Tensor index_B = rows_beside(row_GQ, reach_).view({-1});
  const at::Tensor beside_BR =
      in_double ? nn::gather_rows_plain(read_KR, index_B) : nn::gather_rows(read_KR, index_B).to(type);
  const at::Tensor hidden = up_(beside_BR.view({row_GQ.numel(), -1}));
  const LinearWeights said{.weight_ED = rows_KR, .bias_E = bias_K_.slice(0, 0, known)};
  return said(down_(in_double ? nn::swiglu_plain(hidden) : nn::swiglu(hidden)))
      .view({row_GQ.size(0), row_GQ.size(1), known});
}

}  // namespace verbatim
