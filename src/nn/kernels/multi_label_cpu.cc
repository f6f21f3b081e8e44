#include <cmath>
#include <numbers>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/linear_products.h"
#include "nn/kernels/multi_label.h"
#include "nn/kernels/vector_math.h"

// Fast form of multi_label_loss. Rows that count are taken in tiles: logits of a tile, loss and gradient of the logits
// in one sweep over them (the gradient takes their place), then the two products back. The gradients therefore exist
// after the forward pass; the backward pass only scales them. That is exact when all rows have the same factor, which
// is what a sum or a mean gives; otherwise the tiles are computed again with the factors in their weights.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Large enough for the products to run at full rate, small enough for the logits to stay in a level-2 or -3 cache.
constexpr int64_t kTileValues = int64_t{1} << 22;
constexpr int64_t kLeastTileRows = 64;

struct Problem {
  at::Tensor h_ND, head_VD;
  const TargetLists* targets;
  std::vector<float> weight;  // [N]
  float positive_weight;
};

struct Gradients {
  at::Tensor h_ND;     // type of h
  at::Tensor head_VD;  // float32
};

// sum_v softplus(z_v) of a row; with kGradient the logits become sigmoid(z) * scale. log(1 + e^-|z|) is taken of
// products: each factor lies in (1, 2], so 64 of them fit a float.
template <bool kGradient, class T>
float softplus_row(T* row, int64_t count, float scale) {
  constexpr int64_t kFactors = 64;
  F32x16 total{}, product = splat(1);
  int64_t factors = 0;
  by_vectors(count, [&](int64_t i, auto lanes) {
    const F32x16 z = load(row + i, lanes);
    F32x16 e = exp(minimum(-z, z));
    if constexpr (kGradient) {
      const F32x16 inverse = 1.0F / (1.0F + e);
      store(row + i, select(z < 0, e * inverse, inverse) * scale, lanes);
    }
    if constexpr (!kIsAll<decltype(lanes)>) e = with_rest(e, lanes, 0);
    total += at_least(z, 0);
    product *= 1.0F + e;
    if (++factors == kFactors) {
      total += log2(product) * std::numbers::ln2_v<float>;
      product = splat(1);
      factors = 0;
    }
  });
  return sum_of_lanes(total + log2(product) * std::numbers::ln2_v<float>);
}

float softplus(float z) { return std::max(z, 0.0F) + std::log1p(std::exp(-std::abs(z))); }

// Loss of one row; with kGradient the row of logits becomes its gradient.
template <bool kGradient, class T>
float loss_row(T* row, int64_t vocabulary, const Problem& problem, int64_t n, std::vector<float>& target_logits) {
  const TargetLists& targets = *problem.targets;
  const int64_t begin = targets.offsets[n], end = targets.offsets[n + 1];
  target_logits.clear();
  for (int64_t k = begin; k < end; ++k) target_logits.push_back(static_cast<float>(row[targets.ids[k]]));
  const float scale = problem.weight[n] / static_cast<float>(vocabulary);
  float loss = softplus_row<kGradient>(row, vocabulary, scale);
  for (int64_t k = begin; k < end; ++k) {
    const float z = target_logits[static_cast<size_t>(k - begin)];
    const float weight =
        problem.positive_weight * (targets.id_weights.empty() ? 1.0F : targets.id_weights[static_cast<size_t>(k)]);
    loss += weight * softplus(-z) - softplus(z);
    if constexpr (kGradient) row[targets.ids[k]] = T(-weight / (1.0F + std::exp(z)) * scale);
  }
  return loss * scale;
}

// Fills loss [N] and, when wanted, the gradients of its sum.
void compute(const Problem& problem, at::Tensor& loss_N, Gradients* gradients) {
  const int64_t vocabulary = problem.head_VD.size(0), width = problem.h_ND.size(1);
  std::vector<int64_t> rows;
  for (int64_t n = 0; n < problem.h_ND.size(0); ++n) {
    if (problem.weight[static_cast<size_t>(n)] != 0) rows.push_back(n);
  }
  loss_N.zero_();
  float* loss = loss_N.data_ptr<float>();
  if (gradients != nullptr) {
    gradients->h_ND = at::zeros_like(problem.h_ND);
    gradients->head_VD = at::zeros({vocabulary, width}, at::kFloat);
  }
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t tile_rows = std::max(kLeastTileRows, kTileValues / vocabulary);
  const bool all_rows = count == problem.h_ND.size(0);
  for (int64_t begin = 0; begin < count; begin += tile_rows) {
    const int64_t end = std::min(count, begin + tile_rows);
    at::Tensor index, h_TD;
    if (all_rows) {
      h_TD = problem.h_ND.slice(0, begin, end);
    } else {
      index = at::from_blob(rows.data() + begin, {end - begin}, at::kLong);
      h_TD = problem.h_ND.index_select(0, index);
    }
    at::Tensor logits_TV = linear_product(h_TD, problem.head_VD);
    with_type(logits_TV.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      T* logits = logits_TV.data_ptr<T>();
      for_rows(end - begin, 8 * vocabulary, [&](int64_t first, int64_t last) {
        std::vector<float> scratch;
        for (int64_t t = first; t < last; ++t) {
          const int64_t n = rows[static_cast<size_t>(begin + t)];
          T* row = logits + t * vocabulary;
          loss[n] = gradients != nullptr ? loss_row<true>(row, vocabulary, problem, n, scratch)
                                         : loss_row<false>(row, vocabulary, problem, n, scratch);
        }
      });
    });
    if (gradients == nullptr) continue;
    const at::Tensor dh_TD = linear_input_gradient(logits_TV, problem.head_VD);
    if (all_rows) {
      gradients->h_ND.slice(0, begin, end).copy_(dh_TD);
    } else {
      gradients->h_ND.index_copy_(0, index, dh_TD);
    }
    gradients->head_VD.add_(linear_weight_gradient(logits_TV, h_TD));
  }
}

struct MultiLabelLoss : torch::autograd::Function<MultiLabelLoss> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& h, const at::Tensor& head,
                            const std::shared_ptr<Problem>& problem) {
    problem->h_ND = h.contiguous();
    problem->head_VD = head.contiguous();
    at::Tensor loss_N = at::empty({h.size(0)}, at::kFloat);
    if (!h.requires_grad() && !head.requires_grad()) {
      compute(*problem, loss_N, nullptr);
      return loss_N;
    }
    Gradients gradients;
    compute(*problem, loss_N, &gradients);
    context->save_for_backward({problem->h_ND, problem->head_VD});
    context->saved_data["dh"] = gradients.h_ND;
    context->saved_data["dhead"] = gradients.head_VD;
    const at::Tensor weight_N = at::empty({h.size(0)}, at::kFloat);
    std::copy(problem->weight.begin(), problem->weight.end(), weight_N.data_ptr<float>());
    context->saved_data["weight"] = weight_N;
    context->saved_data["ids"] = at::tensor(problem->targets->ids, at::kInt);
    context->saved_data["offsets"] = at::tensor(problem->targets->offsets, at::kLong);
    context->saved_data["id_weights"] = at::tensor(problem->targets->id_weights, at::kFloat);
    context->saved_data["positive_weight"] = static_cast<double>(problem->positive_weight);
    return loss_N;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("multi_label_loss");
    const at::Tensor factor_N = gradients[0].to(at::kFloat).contiguous();
    const float* factor = factor_N.data_ptr<float>();
    const at::Tensor weight_N = context->saved_data["weight"].toTensor();
    const float* weight = weight_N.data_ptr<float>();
    // The factor of the rows that count, when it is the same for all.
    float common = 1;
    bool found = false, uniform = true;
    for (int64_t n = 0; n < factor_N.numel(); ++n) {
      if (weight[n] == 0) continue;
      uniform = uniform && (!found || factor[n] == common);
      common = factor[n];
      found = true;
    }
    Gradients result{.h_ND = context->saved_data["dh"].toTensor(), .head_VD = context->saved_data["dhead"].toTensor()};
    if (!uniform) {
      result = again(context, factor_N);
    } else if (common != 1) {
      result = {.h_ND = result.h_ND * common, .head_VD = result.head_VD * common};
    }
    return {result.h_ND, result.head_VD, {}};
  }

 private:
  static Gradients again(AutogradContext* context, const at::Tensor& factor_N) {
    const variable_list saved = context->get_saved_variables();
    const auto values = [&](const char* name, auto zero) {
      using T = decltype(zero);
      const at::Tensor tensor = context->saved_data[name].toTensor();
      return std::vector<T>(tensor.data_ptr<T>(), tensor.data_ptr<T>() + tensor.numel());
    };
    TargetLists targets{.ids = values("ids", int32_t{}),
                        .offsets = values("offsets", int64_t{}),
                        .id_weights = values("id_weights", float{})};
    Problem problem{.h_ND = saved[0],
                    .head_VD = saved[1],
                    .targets = &targets,
                    .weight = values("weight", float{}),
                    .positive_weight = static_cast<float>(context->saved_data["positive_weight"].toDouble())};
    for (int64_t n = 0; n < factor_N.numel(); ++n) {
      problem.weight[static_cast<size_t>(n)] *= factor_N.data_ptr<float>()[n];
    }
    Gradients gradients;
    at::Tensor loss_N = at::empty({factor_N.numel()}, at::kFloat);
    compute(problem, loss_N, &gradients);
    return gradients;
  }
};

void check_targets(const TargetLists& targets, int64_t rows, int64_t vocabulary) {
  VERBATIM_ASSERT(static_cast<int64_t>(targets.offsets.size()) == rows + 1 && targets.offsets.front() == 0 &&
                      targets.offsets.back() == static_cast<int64_t>(targets.ids.size()) &&
                      (targets.id_weights.empty() || targets.id_weights.size() == targets.ids.size()),
                  "multi_label_loss: the target lists do not fit {} rows", rows);
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = targets.offsets[n]; k < targets.offsets[n + 1]; ++k) {
      const int32_t id = targets.ids[k];
      VERBATIM_ASSERT(id >= 0 && id < vocabulary && (k == targets.offsets[n] || targets.ids[k - 1] < id),
                      "multi_label_loss: target {} of row {} is out of range or order", id, n);
    }
  }
}

}  // namespace

at::Tensor multi_label_loss(const at::Tensor& h_ND, const at::Tensor& head_VD, const TargetLists& targets,
                            const at::Tensor& weight_N, double positive_weight) {
  check_targets(targets, h_ND.size(0), head_VD.size(0));
  if (!is_fast(h_ND) || !is_fast_float(head_VD)) {
    return multi_label_loss_plain(h_ND, head_VD, targets, weight_N, positive_weight);
  }
  const at::Tensor weight = weight_N.to(at::kFloat).contiguous();
  auto problem = std::make_shared<Problem>();
  problem->targets = &targets;
  problem->weight.assign(weight.data_ptr<float>(), weight.data_ptr<float>() + weight.numel());
  problem->positive_weight = static_cast<float>(positive_weight);
  return MultiLabelLoss::apply(h_ND, head_VD, problem);
}

}  // namespace verbatim::nn
