#include <torch/torch.h>

#include "nn/kernels/attention.h"

namespace verbatim::nn {

at::Tensor self_attention(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape, int64_t window,
                          RotaryOptions rotary) {
  return self_attention_plain(qkv, sequences, shape, window, rotary);
}

at::Tensor range_attention(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges, AttentionShape shape) {
  return range_attention_plain(q, kv, ranges, shape);
}

}  // namespace verbatim::nn
