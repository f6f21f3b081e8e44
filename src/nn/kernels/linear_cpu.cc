#include "nn/autograd.h"
#include "nn/kernels/bfloat16_product.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/linear_products.h"

// Fast form of linear.
namespace verbatim::nn {

namespace {

// By our own products where the machine has instructions for them. Elsewhere in float32: LibTorch multiplies bfloat16
// there fifty times slower than float32 and rounds its sums on the way.
bool multiplies_bfloat16(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 && bfloat16_products_are_available();
}

}  // namespace

at::Tensor linear_product(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  if (multiplies_bfloat16(x_ND)) return bfloat16_linear(x_ND, weight_ED, bias_E);
  const at::Tensor x = x_ND.to(at::kFloat), weight_t = weight_ED.to(at::kFloat).t();
  const at::Tensor y_NE = bias_E.defined() ? at::addmm(bias_E.to(at::kFloat), x, weight_t) : at::mm(x, weight_t);
  return y_NE.to(x_ND.scalar_type());
}

at::Tensor linear_input_gradient(const at::Tensor& dy_NE, const at::Tensor& weight_ED) {
  if (multiplies_bfloat16(dy_NE)) return bfloat16_input_gradient(dy_NE, weight_ED);
  return at::mm(dy_NE.to(at::kFloat), weight_ED.to(at::kFloat)).to(dy_NE.scalar_type());
}

at::Tensor linear_weight_gradient(const at::Tensor& dy_NE, const at::Tensor& x_ND) {
  if (multiplies_bfloat16(x_ND)) return bfloat16_weight_gradient(dy_NE, x_ND);
  return at::mm(dy_NE.to(at::kFloat).t(), x_ND.to(at::kFloat));
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor bias_gradient(const at::Tensor& dy_NE) {
  const int64_t width = dy_NE.size(1);
  const RowBlocks blocks{.rows = dy_NE.size(0)};
  const at::Tensor partial = at::zeros({blocks.count + 1, width}, dy_NE.options().dtype(at::kFloat));
  float* sums = partial.data_ptr<float>();
  with_type(dy_NE.scalar_type(), [&](auto zero) {
    const auto* dy = dy_NE.data_ptr<decltype(zero)>();
    for_rows(blocks.count, blocks.rows_per_block * width, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        float* sum = sums + (block + 1) * width;
        for (int64_t n = blocks.begin(block); n < blocks.end(block); ++n) {
          by_vectors(width, [&](int64_t i, auto lanes) {
            store(sum + i, load(sum + i, lanes) + load(dy + n * width + i, lanes), lanes);
          });
        }
      }
    });
  });
  for (int64_t block = 1; block <= blocks.count; ++block) {
    for (int64_t i = 0; i < width; ++i) sums[i] += sums[block * width + i];
  }
  return partial[0];
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const c10::optional<at::Tensor>& bias) {
    const at::Tensor x_ND = x.contiguous();
    const at::Tensor weight_ED = weight.contiguous();
    context->save_for_backward({x_ND, weight_ED});
    context->saved_data["needs_x"] = x.requires_grad();
    context->saved_data["needs_weight"] = weight.requires_grad();
    context->saved_data["needs_bias"] = bias.has_value() && bias->requires_grad();
    return linear_product(x_ND, weight_ED, bias.has_value() ? bias->contiguous() : at::Tensor());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("linear");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor dy_NE = gradients[0].contiguous();
    variable_list result(3);
    if (context->saved_data["needs_x"].toBool()) result[0] = linear_input_gradient(dy_NE, saved[1]);
    if (context->saved_data["needs_weight"].toBool()) {
      result[1] = linear_weight_gradient(dy_NE, saved[0]).to(saved[1].scalar_type());
    }
    if (context->saved_data["needs_bias"].toBool()) result[2] = bias_gradient(dy_NE);
    return result;
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  check_linear(x_ND, weight_ED, bias_E);
  const bool is_float_bias = !bias_E.defined() || is_fast_float(bias_E);
  if (!is_fast(x_ND) || !is_fast(weight_ED) || !is_float_bias ||
      (x_ND.scalar_type() == at::kFloat && weight_ED.scalar_type() != at::kFloat)) {
    return linear_plain(x_ND, weight_ED, bias_E);
  }
  return Linear::apply(x_ND, weight_ED, bias_E.defined() ? c10::optional<at::Tensor>(bias_E) : c10::nullopt);
}

}  // namespace verbatim::nn
