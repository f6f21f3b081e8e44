#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// The multi-label head of T-Free: a linear layer and a binary cross entropy over V ids, fused in tiles of rows, so that
// no [N, V] tensor exists and targets stay lists of ids.
namespace verbatim::nn {

// The ids that are 1 in each row: strictly rising in [0, V).
struct TargetLists {
  std::vector<int32_t> ids;            // [M]
  std::vector<int64_t> offsets = {0};  // [N + 1]
  std::vector<float> id_weights;       // [M] factor of the positive term of each id; empty: all 1
};

// loss[n] = weight[n] / V * ( sum_v softplus(z_v) + sum_{v in Y} (P e_v softplus(-z_v) - softplus(z_v)) ) with
// z = h head^T and e_v the id's weight (T-Free specification, section 5, without S and the mean over rows). h [N, D] in
// the compute type, head [V, D] float32, weight [N] float32 (0: the row does not count). Returns [N] float32.
// Gradients are formed in the forward pass, tile by tile, when any are wanted: memory is one tile of logits, [N, D] and
// [V, D]. Rows of weight 0 cost nothing.
[[nodiscard]] at::Tensor multi_label_loss(const at::Tensor& h_ND, const at::Tensor& head_VD, const TargetLists& targets,
                                          const at::Tensor& weight_N, double positive_weight);
[[nodiscard]] at::Tensor multi_label_loss_plain(const at::Tensor& h_ND, const at::Tensor& head_VD,
                                                const TargetLists& targets, const at::Tensor& weight_N,
                                                double positive_weight);

}  // namespace verbatim::nn
