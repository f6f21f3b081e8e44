#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/kernels/attention.h"
#include "nn/torch.h"
#include "nn/torch_compat.h"

// Legend: N rows, S sequences, L longest sequence, H query heads, G key/value heads, d head width, Q query rows, K key
// rows, B batch of a product, M query rows and N key rows of one product, W window, C chunks of W rows.
namespace verbatim::nn {
namespace {

using at::indexing::Slice;

at::TensorOptions on_device(const at::Tensor& like, at::ScalarType type) {
  return at::TensorOptions().dtype(type).device(like.device());
}

// The type inside: bfloat16 is computed in float32, double stays double.
at::ScalarType inner_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

bool use_fused(const at::Tensor& x) { return kHasFusedAttention && !x.is_cpu() && x.scalar_type() != at::kDouble; }

// Rotates x [..., d] by the angles t * frequency(i); positions broadcasts to x without its last dimension.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, RotaryOptions rotary) {
  const int64_t d = x.size(-1);
  std::vector<double> frequencies(static_cast<size_t>(d / 2));
  for (int64_t i = 0; i < d / 2; ++i) frequencies[i] = rotary.frequency(i, d);
  const at::Tensor frequency = at::tensor(frequencies, at::kDouble).to(x.device());
  const auto angle = positions.to(at::kDouble).unsqueeze(-1) * frequency;
  const auto cosine = angle.cos().to(inner_type(x));
  const auto sine = angle.sin().to(inner_type(x));
  const auto wide = x.to(inner_type(x));
  at::Tensor first;
  at::Tensor second;
  if (rotary.interleaved) {
    first = wide.index({"...", Slice(0, c10::nullopt, 2)});
    second = wide.index({"...", Slice(1, c10::nullopt, 2)});
  } else {
    first = wide.index({"...", Slice(0, d / 2)});
    second = wide.index({"...", Slice(d / 2, d)});
  }
  const auto new_first = first * cosine - second * sine;
  const auto new_second = second * cosine + first * sine;
  return rotary.interleaved ? at::stack({new_first, new_second}, -1).flatten(-2) : at::cat({new_first, new_second}, -1);
}

// Softmax attention of q [B, H, M, d] over k, v [B, H, N, d]; visible broadcasts to [B, H, M, N]. Rows that see nothing
// give zero.
at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& visible) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
  const auto type = inner_type(q);
  const auto scores = at::matmul(q.to(type), k.to(type).transpose(-1, -2)) * scale;
  // A finite filler: rows without any visible key must not become NaN.
  const auto hidden = visible.logical_not();
  const auto weights = at::softmax(scores.masked_fill(hidden, -1e30), -1).masked_fill(hidden, 0);
  return at::matmul(weights, v.to(type)).to(q.scalar_type());
}

// visible[i, j]: key j of the sequence is visible to query i.
at::Tensor window_mask(const at::Tensor& query_positions, const at::Tensor& key_positions, int64_t window) {
  const auto back = query_positions.unsqueeze(-1) - key_positions.unsqueeze(-2);
  auto visible = back.ge(0);
  if (window > 0) visible = visible.logical_and(back.lt(window));
  return visible.logical_and(key_positions.ge(0).unsqueeze(-2));
}

struct Heads {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

// Splits rows [..., L, (H + 2G) d] into q, k, v [..., H, L, d], rotated, key/value heads repeated for their queries.
Heads split_heads(const at::Tensor& rows, AttentionShape shape, RotaryOptions rotary) {
  const auto [h, g, d] = shape;
  const int64_t length = rows.size(-2);
  const auto heads = rows.unflatten(-1, at::IntArrayRef{h + 2 * g, d}).transpose(-2, -3);
  Heads out;
  out.q = heads.narrow(-3, 0, h);
  out.k = heads.narrow(-3, h, g);
  out.v = heads.narrow(-3, h + g, g);
  if (rotary.theta != 0) {
    const auto positions = at::arange(length, on_device(rows, at::kLong));
    out.q = rotate(out.q, positions, rotary).to(rows.scalar_type());
    out.k = rotate(out.k, positions, rotary).to(rows.scalar_type());
  }
  if (g != h) {
    out.k = out.k.repeat_interleave(h / g, -3);
    out.v = out.v.repeat_interleave(h / g, -3);
  }
  return out;
}

// All sequences at once, padded to the longest.
at::Tensor padded_self_attention(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape,
                                 int64_t window, RotaryOptions rotary) {
  const auto [h, g, d] = shape;
  const int64_t rows = qkv.size(0);
  const int64_t count = sequences.count();
  int64_t longest = sequences.longest();
  const bool chunked = window > 0 && longest > 2 * window;
  if (chunked) longest = (longest + window - 1) / window * window;

  // Row `rows` is the padding.
  auto from = at::full({count, longest}, rows, at::kLong);
  auto back = at::empty({rows}, at::kLong);
  auto* from_data = from.data_ptr<int64_t>();
  auto* back_data = back.data_ptr<int64_t>();
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t i = 0; i < sequences.length(s); ++i) {
      from_data[s * longest + i] = sequences.offsets[s] + i;
      back_data[sequences.offsets[s] + i] = s * longest + i;
    }
  }
  const auto extended = at::cat({qkv, at::zeros({1, qkv.size(1)}, qkv.options())});
  const auto padded = extended.index_select(0, from.view({-1}).to(qkv.device())).view({count, longest, -1});
  auto [q, k, v] = split_heads(padded, shape, rotary);  // [S, H, L, d]

  at::Tensor out;
  const auto fused = use_fused(qkv);
  if (chunked) {
    // Chunks of W rows see themselves and the chunk before: the work grows with L W, not with L^2.
    const int64_t chunks = longest / window;
    const auto chunk = [&](const at::Tensor& x) {
      return x.view({count, h, chunks, window, d}).transpose(1, 2);  // [S, C, H, W, d]
    };
    const auto with_previous = [&](const at::Tensor& x) {
      const auto own = chunk(x.contiguous());
      const auto first = at::zeros_like(own.narrow(1, 0, 1));
      const auto previous = at::cat({first, own.narrow(1, 0, chunks - 1)}, 1);
      return at::cat({previous, own}, 3).flatten(0, 1);  // [S C, H, 2W, d]
    };
    const auto query_positions = at::arange(longest, on_device(qkv, at::kLong)).view({chunks, window});
    const auto key_positions = at::cat({query_positions - window, query_positions}, 1);
    const auto visible = window_mask(query_positions, key_positions, window)  // [C, W, 2W]
                             .unsqueeze(0)
                             .expand({count, chunks, window, 2 * window})
                             .flatten(0, 1)
                             .unsqueeze(1);
    const auto q_chunks = chunk(q.contiguous()).flatten(0, 1);
    out = fused ? fused_attention(q_chunks, with_previous(k), with_previous(v), visible, /*causal=*/false)
                : masked_attention(q_chunks, with_previous(k), with_previous(v), visible);
    out = out.view({count, chunks, h, window, d}).permute({0, 1, 3, 2, 4}).reshape({count * longest, h * d});
  } else {
    const auto positions = at::arange(longest, on_device(qkv, at::kLong));
    if (fused) {
      const auto visible = window > 0 && window < longest ? window_mask(positions, positions, window) : at::Tensor();
      out = fused_attention(q, k, v, visible, /*causal=*/!visible.defined());
    } else {
      out = masked_attention(q, k, v, window_mask(positions, positions, window));
    }
    out = out.transpose(1, 2).reshape({count * longest, h * d});
  }
  return out.index_select(0, back.to(qkv.device()));
}

}  // namespace

at::Tensor self_attention_plain(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape, int64_t window,
                                RotaryOptions rotary) {
  const auto [h, g, d] = shape;
  VERBATIM_ASSERT(qkv.dim() == 2 && qkv.size(0) == sequences.rows() && qkv.size(1) == (h + 2 * g) * d);
  if (qkv.size(0) == 0) return qkv.narrow(1, 0, h * d).clone();
  if (!qkv.is_cpu()) return padded_self_attention(qkv, sequences, shape, window, rotary);
  std::vector<at::Tensor> outputs;
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const int64_t length = sequences.length(s);
    if (length == 0) continue;
    const auto [q, k, v] = split_heads(qkv.narrow(0, sequences.offsets[s], length), shape, rotary);
    const auto positions = at::arange(length, at::kLong);
    const auto out = masked_attention(q, k, v, window_mask(positions, positions, window));  // [H, L, d]
    outputs.push_back(out.transpose(0, 1).reshape({length, h * d}));
  }
  return at::cat(outputs);
}

at::Tensor range_attention_plain(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges,
                                 AttentionShape shape) {
  const auto [h, g, d] = shape;
  const int64_t queries = q.size(0);
  VERBATIM_ASSERT(q.dim() == 2 && q.size(1) == h * d && kv.dim() == 2 && kv.size(1) == 2 * g * d);
  VERBATIM_ASSERT(static_cast<int64_t>(ranges.begin.size()) == queries &&
                  static_cast<int64_t>(ranges.end.size()) == queries);
  if (queries == 0) return q.clone();

  // Blocks of queries over the keys that any of them sees: ranges move forward, so blocks stay narrow. The masked
  // product of a block costs about its height in padding, so long ranges get large blocks.
  int64_t seen = 0;
  for (int64_t i = 0; i < queries; ++i) seen += std::max(0, ranges.end[i] - ranges.begin[i]);
  const int64_t block = std::clamp<int64_t>(8 * seen / queries, 256, 4096);
  const auto begin = at::tensor(at::ArrayRef<int32_t>(ranges.begin), at::kInt).to(q.device());
  const auto end = at::tensor(at::ArrayRef<int32_t>(ranges.end), at::kInt).to(q.device());
  std::vector<at::Tensor> outputs;
  for (int64_t first = 0; first < queries; first += block) {
    const int64_t last = std::min(first + block, queries);
    int64_t low = kv.size(0);
    int64_t high = 0;
    for (int64_t i = first; i < last; ++i) {
      if (ranges.begin[i] >= ranges.end[i]) continue;
      low = std::min<int64_t>(low, ranges.begin[i]);
      high = std::max<int64_t>(high, ranges.end[i]);
    }
    const auto q_block = q.narrow(0, first, last - first).view({last - first, h, d}).transpose(0, 1);
    if (low >= high) {
      outputs.push_back((q.narrow(0, first, last - first) * 0));
      continue;
    }
    const auto heads = kv.narrow(0, low, high - low).view({high - low, 2 * g, d}).transpose(0, 1);
    auto k = heads.narrow(0, 0, g);
    auto v = heads.narrow(0, g, g);
    if (g != h) {
      k = k.repeat_interleave(h / g, 0);
      v = v.repeat_interleave(h / g, 0);
    }
    const auto keys = at::arange(low, high, on_device(q, at::kInt)).unsqueeze(0);
    const auto visible = keys.ge(begin.narrow(0, first, last - first).unsqueeze(1))
                             .logical_and(keys.lt(end.narrow(0, first, last - first).unsqueeze(1)));
    const auto out = masked_attention(q_block, k, v, visible);  // [H, M, d]
    outputs.push_back(out.transpose(0, 1).reshape({last - first, h * d}));
  }
  return at::cat(outputs);
}

}  // namespace verbatim::nn
