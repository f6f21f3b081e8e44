#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"

// Fast form of swiglu and silu_gate: the same rows, of one matrix or of two.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
void gate_rows(const at::Tensor& gate_NF, const at::Tensor& up_NF, at::Tensor& y_NF) {
  const Rows<const T> gates(gate_NF), ups(up_NF);
  const Rows<T> to(y_NF);
  const int64_t width = y_NF.size(1);
  for_rows(y_NF.size(0), 4 * width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T *gate = gates.row(n), *up = ups.row(n);
      T* y = to.row(n);
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 g = load(gate + i, lanes);
        store(y + i, g * sigmoid(g) * load(up + i, lanes), lanes);
      });
    }
  });
}

template <class T>
void gate_rows_backward(const at::Tensor& gate_NF, const at::Tensor& up_NF, const at::Tensor& dy_NF,
                        const at::Tensor& d_gate_NF, const at::Tensor& d_up_NF) {
  const Rows<const T> gates(gate_NF), ups(up_NF), gradients(dy_NF);
  const Rows<T> to_gate(d_gate_NF), to_up(d_up_NF);
  const int64_t width = dy_NF.size(1);
  for_rows(dy_NF.size(0), 5 * width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T *gate = gates.row(n), *up = ups.row(n), *dy = gradients.row(n);
      T *d_gate = to_gate.row(n), *d_up = to_up.row(n);
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 g = load(gate + i, lanes);
        const F32x16 d = load(dy + i, lanes);
        const F32x16 s = sigmoid(g);
        store(d_up + i, d * g * s, lanes);
        store(d_gate + i, d * load(up + i, lanes) * s * (1.0F + g * (1.0F - s)), lanes);
      });
    }
  });
}

// Columns [0, F) or [F, 2F).
at::Tensor half_of(const at::Tensor& x_N2F, int64_t which) {
  const int64_t width = x_N2F.size(1) / 2;
  return x_N2F.narrow(1, which * width, width);
}

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    const at::Tensor gate_up_N2F = with_dense_rows(gate_up);
    at::Tensor y_NF = at::empty({gate_up_N2F.size(0), gate_up_N2F.size(1) / 2}, gate_up_N2F.options());
    with_type(gate_up_N2F.scalar_type(),
              [&](auto zero) { gate_rows<decltype(zero)>(half_of(gate_up_N2F, 0), half_of(gate_up_N2F, 1), y_NF); });
    context->save_for_backward({gate_up_N2F});
    return y_NF;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("swiglu");
    const at::Tensor gate_up_N2F = context->get_saved_variables()[0];
    const at::Tensor dy_NF = with_dense_rows(gradients[0]);
    at::Tensor d_gate_up_N2F = at::empty(gate_up_N2F.sizes(), gate_up_N2F.options());
    with_type(gate_up_N2F.scalar_type(), [&](auto zero) {
      gate_rows_backward<decltype(zero)>(half_of(gate_up_N2F, 0), half_of(gate_up_N2F, 1), dy_NF,
                                         half_of(d_gate_up_N2F, 0), half_of(d_gate_up_N2F, 1));
    });
    return {d_gate_up_N2F};
  }
};

struct SiluGate : torch::autograd::Function<SiluGate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate) {
    const at::Tensor x_NF = with_dense_rows(x), gate_NF = with_dense_rows(gate);
    at::Tensor y_NF = at::empty(x_NF.sizes(), x_NF.options());
    with_type(x_NF.scalar_type(), [&](auto zero) { gate_rows<decltype(zero)>(gate_NF, x_NF, y_NF); });
    context->save_for_backward({x_NF, gate_NF});
    return y_NF;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("silu_gate");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NF = saved[0], &gate_NF = saved[1], dy_NF = with_dense_rows(gradients[0]);
    at::Tensor dx_NF = at::empty(x_NF.sizes(), x_NF.options());
    at::Tensor d_gate_NF = at::empty(gate_NF.sizes(), gate_NF.options());
    with_type(x_NF.scalar_type(),
              [&](auto zero) { gate_rows_backward<decltype(zero)>(gate_NF, x_NF, dy_NF, d_gate_NF, dx_NF); });
    return {dx_NF, d_gate_NF};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up_N2F) {
  check_matrix(gate_up_N2F, "swiglu");
  VERBATIM_ASSERT(gate_up_N2F.size(1) % 2 == 0, "swiglu: odd width {}", gate_up_N2F.size(1));
  return is_fast(gate_up_N2F) ? SwiGlu::apply(gate_up_N2F) : swiglu_plain(gate_up_N2F);
}

at::Tensor silu_gate(const at::Tensor& x_NF, const at::Tensor& gate_NF) {
  check_silu_gate(x_NF, gate_NF);
  const bool fast = is_fast(x_NF) && is_fast(gate_NF) && x_NF.scalar_type() == gate_NF.scalar_type();
  return fast ? SiluGate::apply(x_NF, gate_NF) : silu_gate_plain(x_NF, gate_NF);
}

}  // namespace verbatim::nn
