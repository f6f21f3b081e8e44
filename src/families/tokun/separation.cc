#include "families/tokun/separation.h"

#include <ATen/ATen.h>

#include "model/weights.h"
#include "nn/kernels/dense.h"

namespace verbatim {

namespace {
// Among thousands of characters, what stands beside a place makes the right one of most mistakes the less likely one by
// about as much.
constexpr double kOdds = 6;
constexpr double kEpsilon = 1e-6;
}  // namespace

at::Tensor confusion_of_parts(const at::Tensor& parts_KL, const at::Tensor& row_S, int64_t places, double deviation,
                              at::ScalarType type) {
  const bool in_double = parts_KL.scalar_type() == at::kDouble;
  const at::Tensor own_SL = in_double ? nn::gather_rows_plain(parts_KL, row_S) : nn::gather_rows(parts_KL, row_S);
  const at::Tensor square_S1 = own_SL.square().sum(1, /*keepdim=*/true) + kEpsilon;
  // d^2 / (8 deviation^2) = near (|own|^2 + |other|^2 - 2 own other) / |own|^2; the first term is the same for all.
  const double near = static_cast<double>(parts_KL.size(1)) / static_cast<double>(places) / (8 * deviation * deviation);
  const at::Tensor read = at::cat({2 * near * own_SL, at::full_like(square_S1, -near)}, 1) / square_S1;
  const LinearWeights against{.weight_ED = at::cat({parts_KL, parts_KL.square().sum(1, /*keepdim=*/true)}, 1),
                              .bias_E = {}};
  const at::Tensor logits_SK = against(in_double ? read : read.to(type));
  const at::Tensor odds_S1 = at::full({row_S.size(0), 1}, -kOdds / 2, logits_SK.options());
  const at::Tensor biased_SK = logits_SK.scatter_add(1, row_S.unsqueeze(1), odds_S1);
  return (in_double ? nn::cross_entropy_plain(biased_SK, row_S) : nn::cross_entropy(biased_SK, row_S)).mean();
}

}  // namespace verbatim
