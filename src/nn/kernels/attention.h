#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/rotary.h"
#include "nn/sequences.h"

// Attention over ragged batches. Legend: N rows of all sequences, H query heads, G key/value heads (H % G == 0), d head
// width, Q query rows, K key rows. Inputs float32 or bfloat16 (computed in float32, except matrix products), outputs in
// the type of the input. Autograd-aware. Scale is d^-1/2, softmax in float32.
namespace verbatim::nn {

struct AttentionShape {
  int64_t heads = 1;            // H
  int64_t key_value_heads = 1;  // G
  int64_t head_width = 64;      // d
};

// Causal self-attention inside each sequence: row i sees rows j of its sequence with i - window < j <= i (exactly
// `window` rows including itself); window 0: all earlier rows. Rotary positions count rows from the start of the
// sequence. qkv [N, (H + 2G) d]: all query heads, then all key heads, then all value heads. Returns [N, H d].
[[nodiscard]] at::Tensor self_attention(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape,
                                        int64_t window, RotaryOptions rotary);
// The definition, in tensor operations; also the path for CUDA.
[[nodiscard]] at::Tensor self_attention_plain(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape,
                                              int64_t window, RotaryOptions rotary);

// Which key rows a query row sees: [begin, end) of each query row, both non-decreasing over the query rows, inside the
// key rows of the same sequence. An empty range gives a zero output row.
struct Ranges {
  std::vector<int32_t> begin;  // [Q]
  std::vector<int32_t> end;    // [Q]
};

// Attention over ranges, without rotary embedding: patches that read their bytes, bytes that read their patch, tokens
// that read their byte stream. q [Q, H d], kv [K, 2 G d] (all key heads, then all value heads). Returns [Q, H d].
[[nodiscard]] at::Tensor range_attention(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges,
                                         AttentionShape shape);
[[nodiscard]] at::Tensor range_attention_plain(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges,
                                               AttentionShape shape);

}  // namespace verbatim::nn
