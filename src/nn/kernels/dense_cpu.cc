#include "base/error.h"
#include "nn/kernels/dense.h"

namespace verbatim::nn {

at::Tensor linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  return linear_plain(x_ND, weight_ED, bias_E);
}

at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  return rms_norm_plain(x_ND, gain_D, epsilon, type);
}

std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& residual_ND, const at::Tensor& delta_ND,
                                               const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  return add_rms_norm_plain(residual_ND, delta_ND, gain_D, epsilon, type);
}

at::Tensor swiglu(const at::Tensor& gate_up_N2F) { return swiglu_plain(gate_up_N2F); }

at::Tensor cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N) {
  return cross_entropy_plain(logits_NV, targets_N);
}

at::Tensor gather_rows(const at::Tensor& table_RD, const at::Tensor& index_N) {
  return gather_rows_plain(table_RD, index_N);
}

at::Tensor gather_sum(const at::Tensor& table_RD, const at::Tensor& index_NK) {
  return gather_sum_plain(table_RD, index_NK);
}

at::Tensor pool_rows(const at::Tensor& x_ND, const std::vector<int64_t>& offsets_K1, Pool pool) {
  return pool_rows_plain(x_ND, offsets_K1, pool);
}

}  // namespace verbatim::nn
