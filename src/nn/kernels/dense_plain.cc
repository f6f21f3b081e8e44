#include <ATen/ATen.h>

#include "base/error.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"

// The definitions, in tensor operations: any floating point type, any device, differentiated by LibTorch.
namespace verbatim::nn {

namespace {

// float32 for the small types, the type itself otherwise.
at::ScalarType inner_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

}  // namespace

void check_matrix(const at::Tensor& x, const char* where) {
  VERBATIM_ASSERT(x.defined() && x.dim() == 2 && x.is_floating_point(), "{}: expected a floating point matrix", where);
}

void check_indices(const at::Tensor& index, int64_t limit, const char* where) {
  VERBATIM_ASSERT(index.defined() && index.scalar_type() == at::kLong, "{}: indices must be int64", where);
  if (!index.is_cpu() || index.numel() == 0) return;
  const at::Tensor flat = index.contiguous();
  const int64_t* values = flat.data_ptr<int64_t>();
  int64_t low = values[0];
  int64_t high = values[0];
  for (int64_t i = 1, count = flat.numel(); i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  VERBATIM_ASSERT(low >= -1 && high < limit, "{}: index {} is outside [-1, {})", where, low < -1 ? low : high, limit);
}

void check_linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  check_matrix(x_ND, "linear: x");
  check_matrix(weight_ED, "linear: weight");
  VERBATIM_ASSERT(weight_ED.size(1) == x_ND.size(1), "linear: weight [{}, {}] does not fit x [{}, {}]",
                  weight_ED.size(0), weight_ED.size(1), x_ND.size(0), x_ND.size(1));
  if (bias_E.defined()) {
    VERBATIM_ASSERT(bias_E.dim() == 1 && bias_E.size(0) == weight_ED.size(0),
                    "linear: bias of {} values for {} outputs", bias_E.numel(), weight_ED.size(0));
  }
}

void check_norm(const at::Tensor& x_ND, const at::Tensor& gain_D) {
  check_matrix(x_ND, "rms_norm");
  VERBATIM_ASSERT(gain_D.defined() && gain_D.dim() == 1 && gain_D.size(0) == x_ND.size(1),
                  "rms_norm: gain does not fit width {}", x_ND.size(1));
}

void check_silu_gate(const at::Tensor& x_NF, const at::Tensor& gate_NF) {
  check_matrix(x_NF, "silu_gate");
  VERBATIM_ASSERT(x_NF.sizes() == gate_NF.sizes(), "silu_gate: {} values in a row, {} gates", x_NF.size(1),
                  gate_NF.size(1));
}

void check_cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N) {
  check_matrix(logits_NV, "cross_entropy");
  VERBATIM_ASSERT(targets_N.dim() == 1 && targets_N.size(0) == logits_NV.size(0),
                  "cross_entropy: {} targets for {} rows", targets_N.numel(), logits_NV.size(0));
  VERBATIM_ASSERT(logits_NV.size(1) > 0, "cross_entropy: no symbols");
  check_indices(targets_N, logits_NV.size(1), "cross_entropy: targets");
}

void check_offsets(const std::vector<int64_t>& offsets_K1, int64_t rows) {
  VERBATIM_ASSERT(!offsets_K1.empty() && offsets_K1.front() >= 0 && offsets_K1.back() <= rows,
                  "pool_rows: offsets leave the {} rows", rows);
  for (size_t k = 1; k < offsets_K1.size(); ++k) {
    VERBATIM_ASSERT(offsets_K1[k - 1] <= offsets_K1[k], "pool_rows: offsets fall at {}", k);
  }
}

at::Tensor linear_plain(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E) {
  check_linear(x_ND, weight_ED, bias_E);
  const at::Tensor y_NE = at::mm(x_ND, weight_ED.to(x_ND.scalar_type()).t());
  return bias_E.defined() ? y_NE + bias_E.to(x_ND.scalar_type()) : y_NE;
}

at::Tensor rms_norm_plain(const at::Tensor& x_ND, const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  check_norm(x_ND, gain_D);
  const at::Tensor x = x_ND.to(inner_type(x_ND));
  const at::Tensor scale_N1 = at::rsqrt(at::mean(x * x, 1, /*keepdim=*/true) + epsilon);
  return (x * scale_N1 * gain_D.to(x.scalar_type())).to(type);
}

std::pair<at::Tensor, at::Tensor> add_rms_norm_plain(const at::Tensor& residual_ND, const at::Tensor& delta_ND,
                                                     const at::Tensor& gain_D, double epsilon, at::ScalarType type) {
  VERBATIM_ASSERT(residual_ND.sizes() == delta_ND.sizes(), "add_rms_norm: residual and delta differ in shape");
  const at::Tensor sum_ND = residual_ND + delta_ND.to(residual_ND.scalar_type());
  return {sum_ND, rms_norm_plain(sum_ND, gain_D, epsilon, type)};
}

at::Tensor swiglu_plain(const at::Tensor& gate_up_N2F) {
  check_matrix(gate_up_N2F, "swiglu");
  const int64_t width = gate_up_N2F.size(1) / 2;
  VERBATIM_ASSERT(gate_up_N2F.size(1) == 2 * width, "swiglu: odd width {}", gate_up_N2F.size(1));
  const at::Tensor both = gate_up_N2F.to(inner_type(gate_up_N2F));
  return (at::silu(both.narrow(1, 0, width)) * both.narrow(1, width, width)).to(gate_up_N2F.scalar_type());
}

at::Tensor silu_gate_plain(const at::Tensor& x_NF, const at::Tensor& gate_NF) {
  check_silu_gate(x_NF, gate_NF);
  const at::ScalarType inner = inner_type(x_NF);
  return (x_NF.to(inner) * at::silu(gate_NF.to(inner))).to(x_NF.scalar_type());
}

at::Tensor cross_entropy_plain(const at::Tensor& logits_NV, const at::Tensor& targets_N) {
  check_cross_entropy(logits_NV, targets_N);
  const at::Tensor logits = logits_NV.to(inner_type(logits_NV));
  const at::Tensor targets = targets_N.to(logits.device());
  const at::Tensor chosen_N = logits.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1);
  return (at::logsumexp(logits, 1) - chosen_N).masked_fill(targets < 0, 0);
}

at::Tensor gather_rows_plain(const at::Tensor& table_RD, const at::Tensor& index_N) {
  check_matrix(table_RD, "gather_rows");
  VERBATIM_ASSERT(index_N.dim() == 1, "gather_rows: expected a vector of indices");
  check_indices(index_N, table_RD.size(0), "gather_rows");
  const at::Tensor index = index_N.to(table_RD.device());
  return table_RD.index_select(0, index.clamp_min(0)).masked_fill((index < 0).unsqueeze(1), 0);
}

at::Tensor gather_sum_plain(const at::Tensor& table_RD, const at::Tensor& index_NK) {
  VERBATIM_ASSERT(index_NK.dim() == 2, "gather_sum: expected a matrix of indices");
  return gather_rows_plain(table_RD, index_NK.reshape(-1))
      .view({index_NK.size(0), index_NK.size(1), table_RD.size(1)})
      .sum(1);
}

void check_bags(const at::Tensor& index_M, const at::Tensor& offsets_N1, const char* where) {
  VERBATIM_ASSERT(index_M.dim() == 1 && index_M.scalar_type() == at::kLong, "{}: expected a vector of indices", where);
  VERBATIM_ASSERT(
      offsets_N1.dim() == 1 && offsets_N1.numel() > 0 && offsets_N1.scalar_type() == at::kLong && offsets_N1.is_cpu(),
      "{}: expected a vector of offsets", where);
  const at::Tensor offsets = offsets_N1.contiguous();
  const int64_t* offset = offsets.data_ptr<int64_t>();
  VERBATIM_ASSERT(offset[0] == 0 && offset[offsets.numel() - 1] == index_M.numel(),
                  "{}: offsets go from {} to {}, {} indices", where, offset[0], offset[offsets.numel() - 1],
                  index_M.numel());
  for (int64_t n = 1; n < offsets.numel(); ++n) {
    VERBATIM_ASSERT(offset[n - 1] <= offset[n], "{}: offsets fall at {}", where, n);
  }
}

at::Tensor gather_bags_plain(const at::Tensor& table_RD, const at::Tensor& index_M, const at::Tensor& offsets_N1) {
  check_bags(index_M, offsets_N1, "gather_bags");
  const int64_t rows = offsets_N1.numel() - 1;
  const at::Tensor lengths_N = offsets_N1.slice(0, 1) - offsets_N1.slice(0, 0, rows);
  const at::Tensor row_M = at::repeat_interleave(at::arange(rows, at::kLong), lengths_N).to(table_RD.device());
  return at::zeros({rows, table_RD.size(1)}, table_RD.options())
      .index_add(0, row_M, gather_rows_plain(table_RD, index_M));
}

at::Tensor pool_rows_plain(const at::Tensor& x_ND, const std::vector<int64_t>& offsets_K1, Pool pool) {
  check_matrix(x_ND, "pool_rows");
  check_offsets(offsets_K1, x_ND.size(0));
  const int64_t num_ranges = static_cast<int64_t>(offsets_K1.size()) - 1;
  const int64_t width = x_ND.size(1);
  const int64_t begin = offsets_K1.front();
  const int64_t num_rows = offsets_K1.back() - begin;
  const at::Tensor x = x_ND.narrow(0, begin, num_rows).to(inner_type(x_ND));

  const at::Tensor offsets = at::tensor(offsets_K1, at::kLong);
  const at::Tensor lengths_K = offsets.slice(0, 1) - offsets.slice(0, 0, num_ranges);
  const at::Tensor range_N = at::repeat_interleave(at::arange(num_ranges, at::kLong), lengths_K).to(x.device());
  if (pool == Pool::kMean) {
    const at::Tensor sum_KD = at::zeros({num_ranges, width}, x.options()).index_add(0, range_N, x);
    return (sum_KD / lengths_K.clamp_min(1).to(x.options()).unsqueeze(1)).to(x_ND.scalar_type());
  }
  if (num_rows == 0) return at::zeros({num_ranges, width}, x_ND.options()) + x.sum().to(x_ND.scalar_type());
  // The row that each maximum comes from: the first one that equals it. Reading through that row puts ties in order.
  const at::Tensor values = x.detach();
  const at::Tensor range_ND = range_N.unsqueeze(1).expand({num_rows, width});
  const at::Tensor largest_KD =
      at::full({num_ranges, width}, -INFINITY, values.options()).scatter_reduce(0, range_ND, values, "amax");
  const at::Tensor is_largest_ND = (values == largest_KD.index_select(0, range_N)).logical_or(at::isnan(values));
  const at::Tensor row_ND = at::arange(num_rows, range_N.options()).unsqueeze(1).expand({num_rows, width});
  const at::Tensor first_KD =
      at::full({num_ranges, width}, num_rows - 1, range_N.options())
          .scatter_reduce(0, range_ND, row_ND.masked_fill(~is_largest_ND, num_rows - 1), "amin");
  const at::Tensor is_empty_K1 = (lengths_K == 0).to(x.device()).unsqueeze(1);
  return x.gather(0, first_KD).masked_fill(is_empty_K1, 0).to(x_ND.scalar_type());
}

}  // namespace verbatim::nn
