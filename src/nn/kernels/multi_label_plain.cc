#include "base/error.h"
#include "nn/kernels/multi_label.h"
#include "nn/torch.h"

namespace verbatim::nn {

at::Tensor multi_label_loss_plain(const at::Tensor& h_ND, const at::Tensor& head_VD, const TargetLists& targets,
                                  const at::Tensor& weight_N, double positive_weight) {
  const int64_t rows = h_ND.size(0), vocabulary = head_VD.size(0);
  VERBATIM_ASSERT(static_cast<int64_t>(targets.offsets.size()) == rows + 1, "multi_label_loss: targets of other rows");
  const at::ScalarType inner = h_ND.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor positive = at::zeros({rows, vocabulary}, at::kDouble);
  auto set = positive.accessor<double, 2>();
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = targets.offsets[n]; k < targets.offsets[n + 1]; ++k) {
      set[n][targets.ids[k]] = targets.id_weights.empty() ? 1.0 : static_cast<double>(targets.id_weights[k]);
    }
  }
  const at::Tensor weights_NV = positive.to(inner).to(h_ND.device()) * positive_weight;
  const at::Tensor is_target_NV = (weights_NV > 0).to(inner);
  const at::Tensor z_NV = at::mm(h_ND, head_VD.to(h_ND.scalar_type()).t()).to(inner);
  const at::Tensor loss_NV = (1 - is_target_NV) * at::softplus(z_NV) + weights_NV * at::softplus(-z_NV);
  return loss_NV.sum(1) * weight_N.to(loss_NV.options()) / static_cast<double>(vocabulary);
}

}  // namespace verbatim::nn
