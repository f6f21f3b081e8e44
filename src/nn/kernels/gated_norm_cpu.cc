#include <cmath>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of gated_rms_norm: each row is read from memory once; what is needed twice waits in the cache.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GroupedWidth {
  int64_t width;
  int64_t groups;
  [[nodiscard]] int64_t part() const { return width / groups; }
};

template <class X, class Z>
void gated_norm_rows(const Rows<const X>& x, const Rows<const Z>& gate, const float* gain, int64_t rows,
                     GroupedWidth shape, double epsilon, float* inverse_NG, X* y_NI) {
  const int64_t part = shape.part();
  for_rows(rows, 3 * shape.width, [&](int64_t begin, int64_t end) {
    thread_local ScratchBuffer memory;
    float* gated = memory.get<float>(part);
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t g = 0; g < shape.groups; ++g) {
        const X* x_part = x.row(n) + g * part;
        const Z* gate_part = gate.row(n) + g * part;
        F32x16 squares{};
        by_vectors(part, [&](int64_t i, auto lanes) {
          const F32x16 z = load(gate_part + i, lanes);
          const F32x16 v = load(x_part + i, lanes) * z * sigmoid(z);
          store(gated + i, v, lanes);
          squares += v * v;
        });
        const float mean = sum_of_lanes(squares) / static_cast<float>(part);
        const float inverse = 1.0F / std::sqrt(mean + static_cast<float>(epsilon));
        inverse_NG[n * shape.groups + g] = inverse;
        X* y = y_NI + n * shape.width + g * part;
        by_vectors(part, [&](int64_t i, auto lanes) {
          store(y + i, load(gated + i, lanes) * inverse * load(gain + g * part + i, lanes), lanes);
        });
      }
    }
  });
}

// With v = x silu(gate) and r the inverse root: dv = r gain dy - v r^3 / J sum(gain dy v), J columns to a group.
template <class X, class Z>
void gated_norm_backward_rows(const Rows<const X>& x, const Rows<const Z>& gate, const float* gain,
                              const float* inverse_NG, const Rows<const X>& dy, const RowBlocks& blocks,
                              GroupedWidth shape, X* dx_NI, Z* dgate_NI, float* dgain_blocks) {
  const int64_t part = shape.part();
  for_rows(blocks.count, blocks.rows_per_block * shape.width * 5, [&](int64_t first, int64_t last) {
    thread_local ScratchBuffer memory;
    float* sigmoids = memory.get<float>(part);
    for (int64_t block = first; block < last; ++block) {
      for (int64_t n = blocks.begin(block); n < blocks.end(block); ++n) {
        for (int64_t g = 0; g < shape.groups; ++g) {
          const X* x_part = x.row(n) + g * part;
          const Z* gate_part = gate.row(n) + g * part;
          const X* dy_part = dy.row(n) + g * part;
          const float* gain_part = gain + g * part;
          float* dgain = dgain_blocks + block * shape.width + g * part;
          const float inverse = inverse_NG[n * shape.groups + g];
          F32x16 products{};
          by_vectors(part, [&](int64_t i, auto lanes) {
            const F32x16 z = load(gate_part + i, lanes);
            const F32x16 s = sigmoid(z);
            const F32x16 p = load(dy_part + i, lanes) * load(x_part + i, lanes) * z * s;
            store(sigmoids + i, s, lanes);
            products += p * load(gain_part + i, lanes);
            store(dgain + i, load(dgain + i, lanes) + p * inverse, lanes);
          });
          const float pull = sum_of_lanes(products) * inverse * inverse * inverse / static_cast<float>(part);
          const int64_t column = n * shape.width + g * part;
          by_vectors(part, [&](int64_t i, auto lanes) {
            const F32x16 z = load(gate_part + i, lanes);
            const F32x16 s = load(sigmoids + i, lanes);
            const F32x16 v = load(x_part + i, lanes);
            const F32x16 silu = z * s;
            const F32x16 d = load(dy_part + i, lanes) * load(gain_part + i, lanes) * inverse - v * silu * pull;
            store(dx_NI + column + i, d * silu, lanes);
            store(dgate_NI + column + i, d * v * s * (1.0F + z * (1.0F - s)), lanes);
          });
        }
      }
    }
  });
}

struct GatedRmsNorm : torch::autograd::Function<GatedRmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate,
                            const at::Tensor& gain, int64_t groups, double epsilon) {
    const at::Tensor x_NI = with_dense_rows(x);
    const at::Tensor gate_NI = with_dense_rows(gate);
    const at::Tensor gain_I = gain.contiguous();
    const int64_t rows = x_NI.size(0);
    at::Tensor inverse_NG = at::empty({rows, groups}, gain_I.options());
    at::Tensor y_NI = at::empty(x_NI.sizes(), x_NI.options());
    with_type(x_NI.scalar_type(), [&](auto x_zero) {
      with_type(gate_NI.scalar_type(), [&](auto gate_zero) {
        using X = decltype(x_zero);
        using Z = decltype(gate_zero);
        gated_norm_rows<X, Z>(Rows<const X>(x_NI), Rows<const Z>(gate_NI), gain_I.data_ptr<float>(), rows,
                              {x_NI.size(1), groups}, epsilon, inverse_NG.data_ptr<float>(), y_NI.data_ptr<X>());
      });
    });
    context->save_for_backward({x_NI, gate_NI, gain_I, inverse_NG});
    return y_NI;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("gated_rms_norm");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &gate_NI = saved[1], &gain_I = saved[2], &inverse_NG = saved[3];
    const at::Tensor dy_NI = with_dense_rows(gradients[0]);
    const RowBlocks blocks{.rows = x_NI.size(0)};
    at::Tensor dx_NI = at::empty(x_NI.sizes(), x_NI.options());
    at::Tensor dgate_NI = at::empty(gate_NI.sizes(), gate_NI.options());
    at::Tensor partial = at::zeros({blocks.count, x_NI.size(1)}, gain_I.options());
    with_type(x_NI.scalar_type(), [&](auto x_zero) {
      with_type(gate_NI.scalar_type(), [&](auto gate_zero) {
        using X = decltype(x_zero);
        using Z = decltype(gate_zero);
        gated_norm_backward_rows<X, Z>(Rows<const X>(x_NI), Rows<const Z>(gate_NI), gain_I.data_ptr<float>(),
                                       inverse_NG.data_ptr<float>(), Rows<const X>(dy_NI), blocks,
                                       {x_NI.size(1), inverse_NG.size(1)}, dx_NI.data_ptr<X>(), dgate_NI.data_ptr<Z>(),
                                       partial.data_ptr<float>());
      });
    });
    return {dx_NI, dgate_NI, sum_in_order(partial), {}, {}};
  }
};

}  // namespace

at::Tensor gated_rms_norm(const at::Tensor& x_NI, const at::Tensor& gate_NI, const at::Tensor& gain_I, int64_t groups,
                          double epsilon) {
  check_gated_rms_norm(x_NI, gate_NI, gain_I, groups);
  if (!is_fast(x_NI) || !is_fast(gate_NI) || !is_fast_float(gain_I)) {
    return gated_rms_norm_plain(x_NI, gate_NI, gain_I, groups, epsilon);
  }
  return GatedRmsNorm::apply(x_NI, gate_NI, gain_I, groups, epsilon);
}

}  // namespace verbatim::nn
