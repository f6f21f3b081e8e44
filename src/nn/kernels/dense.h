#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

// Everything of a layer that is not attention. N rows, D width, E output width, F hidden width, V symbols.
// "Compute type" is the type of activations between layers: float32 or bfloat16. Weights and the residual stream stay
// float32. Each function is autograd-aware, has a fast CPU form, and a `_plain` twin in tensor operations that is its
// definition and its path on CUDA.
namespace verbatim::nn {

// y = x W^T (+ bias). x [N, D] in the compute type, weight [E, D] float32 (or the compute type), bias [E] float32 or
// undefined. Returns [N, E] in the type of x. The weight's gradient is float32.
[[nodiscard]] at::Tensor linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E = {});
[[nodiscard]] at::Tensor linear_plain(const at::Tensor& x_ND, const at::Tensor& weight_ED,
                                      const at::Tensor& bias_E = {});

// y = x * rsqrt(mean(x^2) + epsilon) * gain, float32 inside. x [N, D] float32; returns `type`.
[[nodiscard]] at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon,
                                  at::ScalarType type);
[[nodiscard]] at::Tensor rms_norm_plain(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon,
                                        at::ScalarType type);

// r' = r + delta; y = rms_norm(r'). One pass over memory. residual [N, D] float32, delta [N, D] any type.
// Returns {r' float32, y in `type`}.
[[nodiscard]] std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& residual_ND, const at::Tensor& delta_ND,
                                                             const at::Tensor& gain_D, double epsilon,
                                                             at::ScalarType type);
[[nodiscard]] std::pair<at::Tensor, at::Tensor> add_rms_norm_plain(const at::Tensor& residual_ND,
                                                                   const at::Tensor& delta_ND, const at::Tensor& gain_D,
                                                                   double epsilon, at::ScalarType type);

// silu(gate) * up, where gate_up [N, 2F] holds the gate in the first F columns. Returns [N, F] in the same type.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate_up_N2F);
[[nodiscard]] at::Tensor swiglu_plain(const at::Tensor& gate_up_N2F);

// x * silu(gate), both [N, F]; columns of wider matrices are read where they lie. Returns [N, F] in the type of x.
[[nodiscard]] at::Tensor silu_gate(const at::Tensor& x_NF, const at::Tensor& gate_NF);
[[nodiscard]] at::Tensor silu_gate_plain(const at::Tensor& x_NF, const at::Tensor& gate_NF);

// Negative log-likelihood in nats of each row: logsumexp(logits) - logits[target]. logits [N, V] any type (float32
// inside), targets [N] int64 in [0, V), or -1 for rows that do not count (they give 0 and no gradient). Returns [N]
// float32. The gradient is formed in place of the logits' storage where possible: [N, V] is kept once, not twice.
[[nodiscard]] at::Tensor cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N);
[[nodiscard]] at::Tensor cross_entropy_plain(const at::Tensor& logits_NV, const at::Tensor& targets_N);

// Rows of a table: out[i] = table[index[i]]; index int64 in range, or -1 for a zero row. The backward pass adds in a
// fixed order (bit-for-bit repeatable with threads). table [R, D] float32, index [N]; returns [N, D] float32.
[[nodiscard]] at::Tensor gather_rows(const at::Tensor& table_RD, const at::Tensor& index_N);
[[nodiscard]] at::Tensor gather_rows_plain(const at::Tensor& table_RD, const at::Tensor& index_N);

// Sum of several rows: out[i] = sum_k table[index[i, k]]. index [N, K] int64 (-1: none). For hashed n-grams and
// trigrams.
[[nodiscard]] at::Tensor gather_sum(const at::Tensor& table_RD, const at::Tensor& index_NK);
[[nodiscard]] at::Tensor gather_sum_plain(const at::Tensor& table_RD, const at::Tensor& index_NK);

// The same with lists of any length: out[n] = sum of table[index[k]] for k in [offsets[n], offsets[n + 1]). index [M]
// int64 (-1: none), offsets [N + 1] int64 on the CPU, from 0 to M. For sets of hashed trigrams; an empty list gives 0.
[[nodiscard]] at::Tensor gather_bags(const at::Tensor& table_RD, const at::Tensor& index_M,
                                     const at::Tensor& offsets_N1);
[[nodiscard]] at::Tensor gather_bags_plain(const at::Tensor& table_RD, const at::Tensor& index_M,
                                           const at::Tensor& offsets_N1);

// Mean or elementwise maximum of the rows [offsets[k], offsets[k+1]) of x [N, D]; empty ranges give 0. Returns [K, D].
// For max, ties pass the gradient to the first maximal row.
enum class Pool { kMean, kMax };
[[nodiscard]] at::Tensor pool_rows(const at::Tensor& x_ND, const std::vector<int64_t>& offsets_K1, Pool pool);
[[nodiscard]] at::Tensor pool_rows_plain(const at::Tensor& x_ND, const std::vector<int64_t>& offsets_K1, Pool pool);

}  // namespace verbatim::nn
