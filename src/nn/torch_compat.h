#pragma once

#include <torch/version.h>

#include <optional>

#include "nn/torch.h"

// The one place that knows about differences between LibTorch versions.
namespace verbatim::nn {

#if TORCH_VERSION_MAJOR >= 2
inline constexpr bool kHasFusedAttention = true;
#else
inline constexpr bool kHasFusedAttention = false;
#endif

// softmax(q k^T d^-1/2 + mask) v, fused where this LibTorch can. q [B, H, M, d], k and v [B, H, N, d]; `visible_MN` is
// a boolean mask that broadcasts to [B, H, M, N], or undefined; `causal` (M == N, no mask) lets row i see rows j <= i.
inline at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const at::Tensor& visible_MN, bool causal) {
#if TORCH_VERSION_MAJOR >= 2
  std::optional<at::Tensor> mask;
  if (visible_MN.defined()) mask = visible_MN;
  return at::scaled_dot_product_attention(q, k, v, mask, /*dropout_p=*/0.0, causal);
#else
  TORCH_CHECK(false, "fused attention needs LibTorch 2.0");
#endif
}

}  // namespace verbatim::nn
