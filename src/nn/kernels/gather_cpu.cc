#include <torch/torch.h>

#include <limits>
#include <vector>

#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast forms of gather_rows and gather_sum. Backward sorts the uses of each table row by counting; then every row of
// the gradient is written once, by one thread, adding its uses in their order.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void gather_sum_forward(const at::Tensor& table_RD, const at::Tensor& index_NK, at::Tensor& out_ND) {
  const int64_t width = table_RD.size(1);
  const int64_t per_row = index_NK.size(1);
  const float* table = table_RD.data_ptr<float>();
  const int64_t* index = index_NK.data_ptr<int64_t>();
  float* out = out_ND.data_ptr<float>();
  // Rows of a large table lie anywhere: ask for them early.
  constexpr int64_t kAhead = 4;
  for_rows(out_ND.size(0), width * (per_row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (n + kAhead < end) {
        for (int64_t k = 0; k < per_row; ++k) {
          const int64_t row = index[(n + kAhead) * per_row + k];
          for (int64_t i = 0; row >= 0 && i < width; i += kLanes) __builtin_prefetch(table + row * width + i);
        }
      }
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 sum{};
        for (int64_t k = 0; k < per_row; ++k) {
          const int64_t row = index[n * per_row + k];
          if (row >= 0) sum += load(table + row * width + i, lanes);
        }
        store(out + n * width + i, sum, lanes);
      });
    }
  });
}

// uses[starts[r] .. starts[r + 1]) are the places in `index` that hold r, in order.
struct Uses {
  std::vector<int32_t> starts;
  std::vector<int32_t> places;
};

Uses sort_uses(const at::Tensor& index_NK, int64_t num_rows) {
  const int64_t count = index_NK.numel();
  VERBATIM_ASSERT(count < std::numeric_limits<int32_t>::max(), "gather: {} indices in one call", count);
  const int64_t* index = index_NK.data_ptr<int64_t>();
  Uses uses;
  // One place further than the final starts, so that filling below moves each start to where it belongs.
  uses.starts.assign(static_cast<size_t>(num_rows) + 2, 0);
  for (int64_t i = 0; i < count; ++i) {
    if (index[i] >= 0) ++uses.starts[index[i] + 2];
  }
  for (int64_t r = 0; r < num_rows; ++r) uses.starts[r + 2] += uses.starts[r + 1];
  uses.places.resize(static_cast<size_t>(uses.starts.back()));
  for (int64_t i = 0; i < count; ++i) {
    if (index[i] >= 0) uses.places[uses.starts[index[i] + 1]++] = static_cast<int32_t>(i);
  }
  return uses;
}

at::Tensor gather_sum_backward(const at::Tensor& index_NK, const at::Tensor& dy_ND, int64_t num_rows) {
  const int64_t width = dy_ND.size(1);
  const int64_t per_row = index_NK.size(1);
  const Uses uses = sort_uses(index_NK, num_rows);
  at::Tensor gradient_RD = at::empty({num_rows, width}, dy_ND.options());
  const float* dy = dy_ND.data_ptr<float>();
  float* gradient = gradient_RD.data_ptr<float>();
  const int64_t values_per_row =
      width * (1 + static_cast<int64_t>(uses.places.size()) / std::max<int64_t>(1, num_rows));
  for_rows(num_rows, values_per_row, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 sum{};
        for (int32_t use = uses.starts[r]; use < uses.starts[r + 1]; ++use) {
          sum += load(dy + uses.places[use] / per_row * width + i, lanes);
        }
        store(gradient + r * width + i, sum, lanes);
      });
    }
  });
  return gradient_RD;
}

struct GatherSum : torch::autograd::Function<GatherSum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& table, const at::Tensor& index) {
    const at::Tensor table_RD = table.contiguous();
    const at::Tensor index_NK = index.contiguous();
    at::Tensor out_ND = at::empty({index_NK.size(0), table_RD.size(1)}, table_RD.options());
    gather_sum_forward(table_RD, index_NK, out_ND);
    context->save_for_backward({index_NK});
    context->saved_data["num_rows"] = table_RD.size(0);
    return out_ND;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("gather_sum");
    const at::Tensor index_NK = context->get_saved_variables()[0];
    return {gather_sum_backward(index_NK, gradients[0].contiguous(), context->saved_data["num_rows"].toInt()), {}};
  }
};

}  // namespace

at::Tensor gather_rows(const at::Tensor& table_RD, const at::Tensor& index_N) {
  if (!is_fast_float(table_RD) || !index_N.is_cpu()) return gather_rows_plain(table_RD, index_N);
  VERBATIM_ASSERT(index_N.dim() == 1, "gather_rows: expected a vector of indices");
  return gather_sum(table_RD, index_N.unsqueeze(1));
}

at::Tensor gather_sum(const at::Tensor& table_RD, const at::Tensor& index_NK) {
  check_matrix(table_RD, "gather_sum");
  VERBATIM_ASSERT(index_NK.dim() == 2, "gather_sum: expected a matrix of indices");
  if (!is_fast_float(table_RD) || !index_NK.is_cpu()) return gather_sum_plain(table_RD, index_NK);
  check_indices(index_NK, table_RD.size(0), "gather_sum");
  return GatherSum::apply(table_RD, index_NK);
}

}  // namespace verbatim::nn
