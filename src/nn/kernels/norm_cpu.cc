#include <cmath>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast forms of rms_norm and add_rms_norm: each row is read from memory once, its second reading comes from the cache.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

float inverse_root(float sum_of_squares, int64_t width, double epsilon) {
  return 1.0F / std::sqrt(sum_of_squares / static_cast<float>(width) + static_cast<float>(epsilon));
}

template <class Y>
void write_normed(const float* x, const float* gain, float inverse, Y* y, int64_t width) {
  by_vectors(width,
             [&](int64_t i, auto lanes) { store(y + i, load(x + i, lanes) * inverse * load(gain + i, lanes), lanes); });
}

template <class Y>
void norm_rows(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon, at::Tensor& inverse_N,
               at::Tensor& y_ND) {
  const int64_t width = x_ND.size(1);
  const float* x = x_ND.data_ptr<float>();
  const float* gain = gain_D.data_ptr<float>();
  float* inverse = inverse_N.data_ptr<float>();
  Y* y = y_ND.data_ptr<Y>();
  for_rows(x_ND.size(0), width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float* row = x + n * width;
      F32x16 squares{};
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 v = load(row + i, lanes);
        squares += v * v;
      });
      inverse[n] = inverse_root(sum_of_lanes(squares), width, epsilon);
      write_normed(row, gain, inverse[n], y + n * width, width);
    }
  });
}

template <class Delta, class Y>
void add_norm_rows(const at::Tensor& residual_ND, const at::Tensor& delta_ND, const at::Tensor& gain_D, double epsilon,
                   at::Tensor& sum_ND, at::Tensor& inverse_N, at::Tensor& y_ND) {
  const int64_t width = residual_ND.size(1);
  const float* residual = residual_ND.data_ptr<float>();
  const Delta* delta = delta_ND.data_ptr<Delta>();
  const float* gain = gain_D.data_ptr<float>();
  float* sum = sum_ND.data_ptr<float>();
  float* inverse = inverse_N.data_ptr<float>();
  Y* y = y_ND.data_ptr<Y>();
  for_rows(residual_ND.size(0), 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t row = n * width;
      F32x16 squares{};
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 v = load(residual + row + i, lanes) + load(delta + row + i, lanes);
        store(sum + row + i, v, lanes);
        squares += v * v;
      });
      inverse[n] = inverse_root(sum_of_lanes(squares), width, epsilon);
      write_normed(sum + row, gain, inverse[n], y + row, width);
    }
  });
}

struct NormGradients {
  at::Tensor x_ND;      // float32; of the residual too
  at::Tensor delta_ND;  // defined when asked for in a type other than float32
  at::Tensor gain_D;
};

// dx = inverse * gain * dy - x * inverse^3 / D * sum(gain * dy * x) + dsum, dgain = sum over rows of dy * x * inverse.
template <class Y, class Delta>
void norm_backward_rows(const at::Tensor& x_ND, const at::Tensor& gain_D, const at::Tensor& inverse_N,
                        const at::Tensor& dy_ND, const at::Tensor& dsum_ND, NormGradients& gradients) {
  const int64_t width = x_ND.size(1);
  const RowBlocks blocks{.rows = x_ND.size(0)};
  at::Tensor partial = at::zeros({blocks.count, width}, x_ND.options());
  const float* x = x_ND.data_ptr<float>();
  const float* gain = gain_D.data_ptr<float>();
  const float* inverse = inverse_N.data_ptr<float>();
  const Y* dy = dy_ND.data_ptr<Y>();
  const float* dsum = dsum_ND.defined() ? dsum_ND.data_ptr<float>() : nullptr;
  float* dx = gradients.x_ND.data_ptr<float>();
  Delta* ddelta = gradients.delta_ND.defined() ? gradients.delta_ND.data_ptr<Delta>() : nullptr;
  float* dgain_blocks = partial.data_ptr<float>();

  for_rows(blocks.count, blocks.rows_per_block * width * 2, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      float* dgain = dgain_blocks + block * width;
      for (int64_t n = blocks.begin(block); n < blocks.end(block); ++n) {
        const int64_t row = n * width;
        const float scale = inverse[n];
        F32x16 products{};
        by_vectors(width, [&](int64_t i, auto lanes) {
          const F32x16 p = load(dy + row + i, lanes) * load(x + row + i, lanes);
          products += p * load(gain + i, lanes);
          store(dgain + i, load(dgain + i, lanes) + p * scale, lanes);
        });
        const float pull = sum_of_lanes(products) * scale * scale * scale / static_cast<float>(width);
        by_vectors(width, [&](int64_t i, auto lanes) {
          F32x16 d = load(dy + row + i, lanes) * load(gain + i, lanes) * scale - load(x + row + i, lanes) * pull;
          if (dsum != nullptr) d += load(dsum + row + i, lanes);
          store(dx + row + i, d, lanes);
          if (ddelta != nullptr) store(ddelta + row + i, d, lanes);
        });
      }
    }
  });

  gradients.gain_D = at::zeros({width}, x_ND.options());
  float* total = gradients.gain_D.data_ptr<float>();
  for (int64_t block = 0; block < blocks.count; ++block) {
    const float* dgain = dgain_blocks + block * width;
    for (int64_t i = 0; i < width; ++i) total[i] += dgain[i];
  }
}

NormGradients norm_backward(const at::Tensor& x_ND, const at::Tensor& gain_D, const at::Tensor& inverse_N,
                            const at::Tensor& dy, const at::Tensor& dsum, at::ScalarType delta_type) {
  NormGradients gradients;
  gradients.x_ND = at::empty_like(x_ND);
  if (delta_type != at::kFloat) gradients.delta_ND = at::empty(x_ND.sizes(), x_ND.options().dtype(delta_type));
  const at::Tensor dy_ND = dy.contiguous();
  const at::Tensor dsum_ND = dsum.defined() ? dsum.contiguous() : dsum;
  with_type(dy_ND.scalar_type(), [&](auto y_zero) {
    with_type(delta_type, [&](auto delta_zero) {
      norm_backward_rows<decltype(y_zero), decltype(delta_zero)>(x_ND, gain_D, inverse_N, dy_ND, dsum_ND, gradients);
    });
  });
  return gradients;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gain, double epsilon,
                            at::ScalarType type) {
    const at::Tensor x_ND = x.contiguous();
    const at::Tensor gain_D = gain.contiguous();
    at::Tensor inverse_N = at::empty({x_ND.size(0)}, x_ND.options());
    at::Tensor y_ND = at::empty(x_ND.sizes(), x_ND.options().dtype(type));
    with_type(type, [&](auto zero) { norm_rows<decltype(zero)>(x_ND, gain_D, epsilon, inverse_N, y_ND); });
    context->save_for_backward({x_ND, gain_D, inverse_N});
    return y_ND;
  }

  static variable_list backward(AutogradContext* context, variable_list dy) {
    check_first_derivative("rms_norm");
    const variable_list saved = context->get_saved_variables();
    NormGradients gradients = norm_backward(saved[0], saved[1], saved[2], dy[0], /*dsum=*/{}, at::kFloat);
    return {gradients.x_ND, gradients.gain_D, {}, {}};
  }
};

struct AddRmsNorm : torch::autograd::Function<AddRmsNorm> {
  static variable_list forward(AutogradContext* context, const at::Tensor& residual, const at::Tensor& delta,
                               const at::Tensor& gain, double epsilon, at::ScalarType type) {
    context->set_materialize_grads(false);
    const at::Tensor residual_ND = residual.contiguous();
    const at::Tensor delta_ND = delta.contiguous();
    const at::Tensor gain_D = gain.contiguous();
    at::Tensor sum_ND = at::empty_like(residual_ND);
    at::Tensor inverse_N = at::empty({residual_ND.size(0)}, residual_ND.options());
    at::Tensor y_ND = at::empty(residual_ND.sizes(), residual_ND.options().dtype(type));
    with_type(delta_ND.scalar_type(), [&](auto delta_zero) {
      with_type(type, [&](auto y_zero) {
        add_norm_rows<decltype(delta_zero), decltype(y_zero)>(residual_ND, delta_ND, gain_D, epsilon, sum_ND, inverse_N,
                                                              y_ND);
      });
    });
    context->save_for_backward({sum_ND, gain_D, inverse_N});
    context->saved_data["delta_type"] = static_cast<int64_t>(delta.scalar_type());
    return {sum_ND, y_ND};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("add_rms_norm");
    const auto delta_type = static_cast<at::ScalarType>(context->saved_data["delta_type"].toInt());
    const at::Tensor& dsum = gradients[0];
    const at::Tensor& dy = gradients[1];
    if (!dy.defined()) return {dsum, dsum.defined() ? dsum.to(delta_type) : dsum, {}, {}, {}};
    const variable_list saved = context->get_saved_variables();
    NormGradients result = norm_backward(saved[0], saved[1], saved[2], dy, dsum, delta_type);
    return {result.x_ND, result.delta_ND.defined() ? result.delta_ND : result.x_ND, result.gain_D, {}, {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  check_norm(x_ND, gain_D);
  if (!is_fast_float(x_ND) || !is_fast_float(gain_D) || !is_float_or_bfloat16(type)) {
    return rms_norm_plain(x_ND, gain_D, epsilon, type);
  }
  return RmsNorm::apply(x_ND, gain_D, epsilon, type);
}

std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& residual_ND, const at::Tensor& delta_ND,
                                               const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  check_norm(residual_ND, gain_D);
  VERBATIM_ASSERT(residual_ND.sizes() == delta_ND.sizes(), "add_rms_norm: residual and delta differ in shape");
  if (!is_fast_float(residual_ND) || !is_fast(delta_ND) || !is_fast_float(gain_D) || !is_float_or_bfloat16(type)) {
    return add_rms_norm_plain(residual_ND, delta_ND, gain_D, epsilon, type);
  }
  variable_list outputs = AddRmsNorm::apply(residual_ND, delta_ND, gain_D, epsilon, type);
  return {outputs[0], outputs[1]};
}

}  // namespace verbatim::nn
