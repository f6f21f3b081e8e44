#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"

// state_space in tensor operations without a loop over rows: all chunks of kChunk rows side by side, and one step for
// each chunk of the longest sequence to carry states over. Steps 1 to 4 are those of arXiv 2405.21060, section 6.
namespace verbatim::nn {

namespace {

constexpr int64_t kChunk = 64;

// Sequences cut into chunks, the first chunks of all sequences in front, then the second ones, and so on: the chunks
// that a step of the carry works on are neighbours.
struct ChunkOrder {
  at::Tensor row_MQ;   // row of the batch, or N behind the end of a sequence; M chunks of Q = kChunk rows
  at::Tensor place_N;  // where each row lies in row_MQ
  // Chunks [first[j], first[j + 1]) are the j-th of their sequences; previous_M is the chunk in front of each (itself
  // where there is none).
  std::vector<int64_t> first = {0};
  std::vector<int64_t> previous_M;
};

ChunkOrder chunk_order(const Sequences& sequences) {
  const int64_t rows = sequences.rows();
  std::vector<int64_t> row, place(static_cast<size_t>(rows));
  std::vector<int64_t> last(static_cast<size_t>(sequences.count()));  // chunk of each sequence
  ChunkOrder order;
  for (int64_t begin = 0; begin < sequences.longest(); begin += kChunk) {
    for (int64_t s = 0; s < sequences.count(); ++s) {
      if (begin >= sequences.length(s)) continue;
      const auto index = static_cast<int64_t>(order.previous_M.size());
      order.previous_M.push_back(begin == 0 ? index : last[s]);
      last[s] = index;
      for (int64_t q = 0; q < kChunk; ++q) {
        const int64_t n = sequences.offsets[s] + begin + q;
        const bool is_inside = n < sequences.offsets[s + 1];
        if (is_inside) place[n] = static_cast<int64_t>(row.size());
        row.push_back(is_inside ? n : rows);
      }
    }
    order.first.push_back(static_cast<int64_t>(order.previous_M.size()));
  }
  order.row_MQ = at::tensor(row, at::kLong).view({-1, kChunk});
  order.place_N = at::tensor(place, at::kLong);
  return order;
}

}  // namespace

at::Tensor state_space_chunks(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                              const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                              const Sequences& sequences, const StateSpaceShape& shape) {
  check_state_space(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  if (x_NI.size(0) == 0) return x_NI * 1;
  const at::Device device = x_NI.device();
  const at::ScalarType type = x_NI.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const ChunkOrder order = chunk_order(sequences);
  const int64_t chunks = order.row_MQ.size(0), rows = x_NI.size(0);
  const int64_t heads = shape.heads, per_group = shape.heads / shape.groups;
  const at::Tensor rows_of_chunks = order.row_MQ.to(device).view(-1);

  // [N, K L] as [M, K, Q, L], zeros behind the end of a sequence.
  const auto in_chunks = [&](const at::Tensor& x, int64_t parts) {
    const at::Tensor padded = at::constant_pad_nd(x, {0, 0, 0, 1});
    return padded.index_select(0, rows_of_chunks).view({chunks, kChunk, parts, -1}).transpose(1, 2);
  };
  const at::Tensor delta_NH = at::softplus(step_NH.to(type));
  const at::Tensor rate_H = -at::exp(log_decay_H.to(type));
  const at::Tensor x_NHP = x_NI.to(type).reshape({rows, heads, shape.head_width});
  const at::Tensor u_MHQP = in_chunks((x_NHP * delta_NH.unsqueeze(2)).view({rows, -1}), heads);
  const at::Tensor b_MGQS = in_chunks(b_NE.to(type), shape.groups), c_MGQS = in_chunks(c_NE.to(type), shape.groups);
  const at::Tensor b_MHQS = b_MGQS.repeat_interleave(per_group, 1), c_MHQS = c_MGQS.repeat_interleave(per_group, 1);

  // Logarithms of the decays, summed from the start of the chunk. In double, as differences of sums of many rows would
  // lose the small ones, and so would the gradients of such differences.
  const at::Tensor sum_MHQ = in_chunks(delta_NH * rate_H, heads).squeeze(3).to(at::kDouble).cumsum(2);
  const at::Tensor above = at::ones({kChunk, kChunk}, at::TensorOptions(device).dtype(at::kBool)).triu(1);
  const at::Tensor log_MHQQ = (sum_MHQ.unsqueeze(3) - sum_MHQ.unsqueeze(2)).to(type);
  const at::Tensor decay_MHQQ = at::exp(log_MHQQ.masked_fill(above, -INFINITY));
  const at::Tensor product_MGQQ = at::matmul(c_MGQS, b_MGQS.transpose(2, 3));
  at::Tensor y_MHQP = at::matmul(decay_MHQQ * product_MGQQ.repeat_interleave(per_group, 1), u_MHQP);

  const at::Tensor to_end_MHQ1 = decay_MHQQ.select(2, kChunk - 1).unsqueeze(3);
  const at::Tensor added_MHSP = at::matmul(b_MHQS.transpose(2, 3), to_end_MHQ1 * u_MHQP);
  const at::Tensor from_start_MHQ1 = at::exp(sum_MHQ.to(type)).unsqueeze(3);
  const at::Tensor decay_MH11 = from_start_MHQ1.slice(2, kChunk - 1);
  // The states in front of the chunks.
  std::vector<at::Tensor> before = {at::zeros_like(added_MHSP.slice(0, 0, order.first[1]))};
  for (size_t j = 1; j + 1 < order.first.size(); ++j) {
    const int64_t start = order.first[j - 1];
    const at::Tensor after =
        decay_MH11.slice(0, start, order.first[j]) * before.back() + added_MHSP.slice(0, start, order.first[j]);
    std::vector<int64_t> from;
    for (int64_t m = order.first[j]; m < order.first[j + 1]; ++m) from.push_back(order.previous_M[m] - start);
    before.push_back(after.index_select(0, at::tensor(from, at::kLong).to(device)));
  }
  y_MHQP = y_MHQP + from_start_MHQ1 * at::matmul(c_MHQS, at::cat(before));

  const at::Tensor y_NHP =
      y_MHQP.transpose(1, 2).reshape({chunks * kChunk, heads, -1}).index_select(0, order.place_N.to(device));
  return (y_NHP + skip_H.to(type).unsqueeze(1) * x_NHP).reshape(x_NI.sizes()).to(x_NI.scalar_type());
}

}  // namespace verbatim::nn
