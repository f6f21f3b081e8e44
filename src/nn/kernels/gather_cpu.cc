#include <limits>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast forms of gather_rows, gather_sum and gather_bags. Backward sorts the uses of each table row by counting; then
// every row of the gradient is written once, by one thread, adding its uses in their order.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Which table rows each result row adds up: `per_row` indices each, or the ranges of `offsets`.
struct Bags {
  const int64_t* index;
  int64_t count;  // of result rows
  int64_t per_row;
  const int64_t* offsets;  // [count + 1], or null

  [[nodiscard]] int64_t begin(int64_t n) const { return offsets != nullptr ? offsets[n] : n * per_row; }
  [[nodiscard]] int64_t indices() const { return begin(count); }
};

void gather_forward(const at::Tensor& table_RD, const Bags& bags, at::Tensor& out_ND) {
  const int64_t width = table_RD.size(1);
  const float* table = table_RD.data_ptr<float>();
  const int64_t* index = bags.index;
  float* out = out_ND.data_ptr<float>();
  // Rows of a large table lie anywhere: ask for them early.
  constexpr int64_t kAhead = 4;
  const int64_t per_row = bags.count == 0 ? 0 : bags.indices() / bags.count;
  for_rows(bags.count, width * (per_row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (n + kAhead < end) {
        for (int64_t k = bags.begin(n + kAhead); k < bags.begin(n + kAhead + 1); ++k) {
          for (int64_t i = 0; index[k] >= 0 && i < width; i += kLanes) __builtin_prefetch(table + index[k] * width + i);
        }
      }
      const int64_t first = bags.begin(n), last = bags.begin(n + 1);
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 sum{};
        for (int64_t k = first; k < last; ++k) {
          if (index[k] >= 0) sum += load(table + index[k] * width + i, lanes);
        }
        store(out + n * width + i, sum, lanes);
      });
    }
  });
}

// rows[starts[r] .. starts[r + 1]) are the result rows that use table row r, in order, repeated where they use it
// twice.
struct Uses {
  std::vector<int32_t> starts;
  std::vector<int32_t> rows;
};

Uses sort_uses(const Bags& bags, int64_t table_rows) {
  const int64_t count = bags.indices();
  VERBATIM_ASSERT(std::max(count, bags.count) < std::numeric_limits<int32_t>::max(), "gather: {} indices in one call",
                  count);
  Uses uses;
  // One place further than the final starts, so that filling below moves each start to where it belongs.
  uses.starts.assign(static_cast<size_t>(table_rows) + 2, 0);
  for (int64_t k = 0; k < count; ++k) {
    if (bags.index[k] >= 0) ++uses.starts[bags.index[k] + 2];
  }
  for (int64_t r = 0; r < table_rows; ++r) uses.starts[r + 2] += uses.starts[r + 1];
  uses.rows.resize(static_cast<size_t>(uses.starts.back()));
  for (int64_t n = 0; n < bags.count; ++n) {
    for (int64_t k = bags.begin(n); k < bags.begin(n + 1); ++k) {
      if (bags.index[k] >= 0) uses.rows[uses.starts[bags.index[k] + 1]++] = static_cast<int32_t>(n);
    }
  }
  return uses;
}

at::Tensor gather_backward(const Bags& bags, const at::Tensor& dy_ND, int64_t table_rows) {
  const int64_t width = dy_ND.size(1);
  const Uses uses = sort_uses(bags, table_rows);
  at::Tensor gradient_RD = at::empty({table_rows, width}, dy_ND.options());
  const float* dy = dy_ND.data_ptr<float>();
  float* gradient = gradient_RD.data_ptr<float>();
  const int64_t values_per_row =
      width * (1 + static_cast<int64_t>(uses.rows.size()) / std::max<int64_t>(1, table_rows));
  for_rows(table_rows, values_per_row, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 sum{};
        for (int32_t use = uses.starts[r]; use < uses.starts[r + 1]; ++use) {
          sum += load(dy + uses.rows[use] * width + i, lanes);
        }
        store(gradient + r * width + i, sum, lanes);
      });
    }
  });
  return gradient_RD;
}

Bags bags_of(const at::Tensor& index, const at::Tensor& offsets) {
  if (!offsets.defined()) {
    return {.index = index.data_ptr<int64_t>(), .count = index.size(0), .per_row = index.size(1), .offsets = nullptr};
  }
  return {.index = index.data_ptr<int64_t>(),
          .count = offsets.numel() - 1,
          .per_row = 0,
          .offsets = offsets.data_ptr<int64_t>()};
}

// `offsets` is undefined for a matrix of indices.
struct GatherSum : torch::autograd::Function<GatherSum> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& table, const at::Tensor& index,
                            const c10::optional<at::Tensor>& offsets) {
    const at::Tensor table_RD = table.contiguous();
    const Bags bags = bags_of(index, offsets.value_or(at::Tensor()));
    at::Tensor out_ND = at::empty({bags.count, table_RD.size(1)}, table_RD.options());
    gather_forward(table_RD, bags, out_ND);
    context->save_for_backward({index, offsets.value_or(at::Tensor())});
    context->saved_data["table_rows"] = table_RD.size(0);
    return out_ND;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("gather_sum");
    const variable_list saved = context->get_saved_variables();
    return {gather_backward(bags_of(saved[0], saved[1]), gradients[0].contiguous(),
                            context->saved_data["table_rows"].toInt()),
            {},
            {}};
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
  return GatherSum::apply(table_RD, index_NK.contiguous(), c10::nullopt);
}

at::Tensor gather_bags(const at::Tensor& table_RD, const at::Tensor& index_M, const at::Tensor& offsets_N1) {
  check_matrix(table_RD, "gather_bags");
  check_bags(index_M, offsets_N1, "gather_bags");
  if (!is_fast_float(table_RD) || !index_M.is_cpu()) return gather_bags_plain(table_RD, index_M, offsets_N1);
  check_indices(index_M, table_RD.size(0), "gather_bags");
  return GatherSum::apply(table_RD, index_M.contiguous(), offsets_N1.contiguous());
}

}  // namespace verbatim::nn
