#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast form of swiglu.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
void swiglu_rows(const at::Tensor& gate_up_N2F, at::Tensor& y_NF) {
  const int64_t width = y_NF.size(1);
  const T* gate_up = gate_up_N2F.data_ptr<T>();
  T* y = y_NF.data_ptr<T>();
  for_rows(y_NF.size(0), 4 * width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* gate = gate_up + n * 2 * width;
      const T* up = gate + width;
      T* out = y + n * width;
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 g = load(gate + i, lanes);
        store(out + i, g * sigmoid(g) * load(up + i, lanes), lanes);
      });
    }
  });
}

template <class T>
void swiglu_backward_rows(const at::Tensor& gate_up_N2F, const at::Tensor& dy_NF, at::Tensor& d_gate_up_N2F) {
  const int64_t width = dy_NF.size(1);
  const T* gate_up = gate_up_N2F.data_ptr<T>();
  const T* dy = dy_NF.data_ptr<T>();
  T* d_gate_up = d_gate_up_N2F.data_ptr<T>();
  for_rows(dy_NF.size(0), 5 * width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* gate = gate_up + n * 2 * width;
      const T* up = gate + width;
      T* d_gate = d_gate_up + n * 2 * width;
      T* d_up = d_gate + width;
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 g = load(gate + i, lanes);
        const F32x16 d = load(dy + n * width + i, lanes);
        const F32x16 s = sigmoid(g);
        store(d_up + i, d * g * s, lanes);
        store(d_gate + i, d * load(up + i, lanes) * s * (1.0F + g * (1.0F - s)), lanes);
      });
    }
  });
}

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    const at::Tensor gate_up_N2F = gate_up.contiguous();
    at::Tensor y_NF = at::empty({gate_up_N2F.size(0), gate_up_N2F.size(1) / 2}, gate_up_N2F.options());
    with_type(gate_up_N2F.scalar_type(), [&](auto zero) { swiglu_rows<decltype(zero)>(gate_up_N2F, y_NF); });
    context->save_for_backward({gate_up_N2F});
    return y_NF;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("swiglu");
    const at::Tensor gate_up_N2F = context->get_saved_variables()[0];
    const at::Tensor dy_NF = gradients[0].contiguous();
    at::Tensor d_gate_up_N2F = at::empty_like(gate_up_N2F);
    with_type(gate_up_N2F.scalar_type(),
              [&](auto zero) { swiglu_backward_rows<decltype(zero)>(gate_up_N2F, dy_NF, d_gate_up_N2F); });
    return {d_gate_up_N2F};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up_N2F) {
  check_matrix(gate_up_N2F, "swiglu");
  VERBATIM_ASSERT(gate_up_N2F.size(1) % 2 == 0, "swiglu: odd width {}", gate_up_N2F.size(1));
  return is_fast(gate_up_N2F) ? SwiGlu::apply(gate_up_N2F) : swiglu_plain(gate_up_N2F);
}

}  // namespace verbatim::nn
