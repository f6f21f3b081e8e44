#include <torch/torch.h>

#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"

// Fast form of linear: LibTorch's matrix product (OpenBLAS) in float32.
namespace verbatim::nn {

at::Tensor linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  check_linear(x_ND, weight_ED, bias_E);
  if (x_ND.scalar_type() == at::kFloat && weight_ED.scalar_type() == at::kFloat && bias_E.defined()) {
    return at::addmm(bias_E, x_ND, weight_ED.t());
  }
  return linear_plain(x_ND, weight_ED, bias_E);
}

}  // namespace verbatim::nn
