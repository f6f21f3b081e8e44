#include <cmath>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast form of cross_entropy. Forward keeps the logits and one number per row; backward writes the gradient over the
// logits when nobody else holds them, so that the largest matrix of a step exists once.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
float log_sum_exp(const T* row, int64_t count) {
  F32x16 top_lanes = splat(-INFINITY);
  by_vectors(count, [&](int64_t i, auto lanes) {
    F32x16 v = load(row + i, lanes);
    if constexpr (!kIsAll<decltype(lanes)>) v = with_rest(v, lanes, -INFINITY);
    top_lanes = maximum(v, top_lanes);
  });
  const float top = maximum_of_lanes(top_lanes);
  F32x16 total{};
  by_vectors(count, [&](int64_t i, auto lanes) {
    F32x16 e = exp(load(row + i, lanes) - top);
    if constexpr (!kIsAll<decltype(lanes)>) e = with_rest(e, lanes, 0);
    total += e;
  });
  return top + std::log(sum_of_lanes(total));
}

template <class T>
void cross_entropy_rows(const at::Tensor& logits_NV, const at::Tensor& targets_N, at::Tensor& log_sums_N,
                        at::Tensor& loss_N) {
  const int64_t num_symbols = logits_NV.size(1);
  const T* logits = logits_NV.data_ptr<T>();
  const int64_t* targets = targets_N.data_ptr<int64_t>();
  float* log_sums = log_sums_N.data_ptr<float>();
  float* loss = loss_N.data_ptr<float>();
  for_rows(logits_NV.size(0), 2 * num_symbols, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* row = logits + n * num_symbols;
      log_sums[n] = targets[n] < 0 ? 0 : log_sum_exp(row, num_symbols);
      loss[n] = targets[n] < 0 ? 0 : log_sums[n] - static_cast<float>(row[targets[n]]);
    }
  });
}

// gradient = (softmax - one_hot(target)) * scale. May be the logits' own storage.
template <class T>
void cross_entropy_backward_rows(const at::Tensor& logits_NV, const at::Tensor& targets_N, const at::Tensor& log_sums_N,
                                 const at::Tensor& scale_N, at::Tensor& gradient_NV) {
  const int64_t num_symbols = logits_NV.size(1);
  const T* logits = logits_NV.data_ptr<T>();
  const int64_t* targets = targets_N.data_ptr<int64_t>();
  const float* log_sums = log_sums_N.data_ptr<float>();
  const float* scales = scale_N.data_ptr<float>();
  T* gradient = gradient_NV.data_ptr<T>();
  for_rows(logits_NV.size(0), 2 * num_symbols, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const T* row = logits + n * num_symbols;
      T* out = gradient + n * num_symbols;
      const float scale = scales[n];
      if (targets[n] < 0) {
        std::fill_n(out, num_symbols, T(0.0F));
        continue;
      }
      const float log_sum = log_sums[n];
      const float chosen = first_lane(exp(splat(static_cast<float>(row[targets[n]]) - log_sum)));
      by_vectors(num_symbols,
                 [&](int64_t i, auto lanes) { store(out + i, exp(load(row + i, lanes) - log_sum) * scale, lanes); });
      out[targets[n]] = T((chosen - 1.0F) * scale);
    }
  });
}

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& targets) {
    const at::Tensor logits_NV = logits.contiguous();
    const at::Tensor targets_N = targets.contiguous();
    at::Tensor log_sums_N = at::empty({logits_NV.size(0)}, logits_NV.options().dtype(at::kFloat));
    at::Tensor loss_N = at::empty_like(log_sums_N);
    with_type(logits_NV.scalar_type(),
              [&](auto zero) { cross_entropy_rows<decltype(zero)>(logits_NV, targets_N, log_sums_N, loss_N); });
    if (logits.requires_grad()) {
      // Not save_for_backward: that would hold the storage twice, and sole ownership could no longer be seen.
      const at::Tensor kept = logits_NV.tensor_data();
      context->saved_data["version"] = static_cast<int64_t>(kept._version());
      context->saved_data["logits"] = kept;
      context->save_for_backward({targets_N, log_sums_N});
    }
    return loss_N;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("cross_entropy");
    const variable_list saved = context->get_saved_variables();
    VERBATIM_ASSERT(context->saved_data.count("logits") == 1,
                    "cross_entropy: the gradient was already formed in place of the logits");
    at::Tensor logits_NV = context->saved_data["logits"].toTensor();
    VERBATIM_ASSERT(static_cast<int64_t>(logits_NV._version()) == context->saved_data["version"].toInt(),
                    "cross_entropy: the logits were changed in place after the loss");
    at::Tensor gradient_NV = logits_NV;
    if (logits_NV.storage().use_count() == 1) {
      context->saved_data.erase("logits");
    } else {
      gradient_NV = at::empty_like(logits_NV);
    }
    const at::Tensor scale_N = gradients[0].contiguous();
    with_type(logits_NV.scalar_type(), [&](auto zero) {
      cross_entropy_backward_rows<decltype(zero)>(logits_NV, saved[0], saved[1], scale_N, gradient_NV);
    });
    return {gradient_NV, {}};
  }
};

}  // namespace

at::Tensor cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N) {
  check_cross_entropy(logits_NV, targets_N);
  if (!is_fast(logits_NV) || !targets_N.is_cpu()) return cross_entropy_plain(logits_NV, targets_N);
  return CrossEntropy::apply(logits_NV, targets_N);
}

}  // namespace verbatim::nn
