#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/dense_checks.h"
#include "nn/kernels/lanes.h"

// Fast form of pool_rows. Ranges do not overlap, so each row of the gradient belongs to one range and one thread.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
void mean_rows(const T* x, const std::vector<int64_t>& offsets, int64_t width, int64_t values_per_range, T* out) {
  for_rows(static_cast<int64_t>(offsets.size()) - 1, values_per_range, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k) {
      const int64_t length = offsets[k + 1] - offsets[k];
      const float divisor = length == 0 ? 1.0F : static_cast<float>(length);
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 sum{};
        for (int64_t n = offsets[k]; n < offsets[k + 1]; ++n) sum += load(x + n * width + i, lanes);
        store(out + k * width + i, sum / divisor, lanes);
      });
    }
  });
}

// chosen: the row each maximum comes from, -1 in empty ranges.
template <class T>
void max_rows(const T* x, const std::vector<int64_t>& offsets, int64_t width, int64_t values_per_range, T* out,
              int32_t* chosen) {
  for_rows(static_cast<int64_t>(offsets.size()) - 1, values_per_range, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k) {
      const int64_t begin = offsets[k];
      const int64_t end = offsets[k + 1];
      by_vectors(width, [&](int64_t i, auto lanes) {
        F32x16 best = begin < end ? load(x + begin * width + i, lanes) : F32x16{};
        I32x16 row = splat_int(static_cast<int32_t>(begin < end ? begin : -1));
        for (int64_t n = begin + 1; n < end; ++n) {
          const F32x16 v = load(x + n * width + i, lanes);
          // Not "v > best": a NaN must win, and the first NaN must stay.
          const auto is_better = (~(v <= best)) & (best == best);
          best = select(is_better, v, best);
          row = select(is_better, splat_int(static_cast<int32_t>(n)), row);
        }
        store(out + k * width + i, best, lanes);
        int32_t rows[kLanes];
        store_all(rows, row);
        std::copy_n(rows, static_cast<int64_t>(lanes), chosen + k * width + i);
      });
    }
  });
}

template <class T>
void pool_backward_rows(const at::Tensor& dy_KD, const int32_t* chosen, const std::vector<int64_t>& offsets,
                        at::Tensor& dx_ND) {
  const int64_t width = dy_KD.size(1);
  const int64_t num_ranges = dy_KD.size(0);
  const T* dy = dy_KD.data_ptr<T>();
  T* dx = dx_ND.data_ptr<T>();
  const T zero(0.0F);
  std::fill(dx, dx + offsets.front() * width, zero);
  std::fill(dx + offsets.back() * width, dx + dx_ND.numel(), zero);
  const int64_t values_per_range = width + dx_ND.numel() / std::max<int64_t>(1, num_ranges);
  for_rows(num_ranges, values_per_range, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k) {
      const T* from = dy + k * width;
      if (chosen != nullptr) {
        std::fill(dx + offsets[k] * width, dx + offsets[k + 1] * width, zero);
        if (offsets[k] == offsets[k + 1]) continue;
        for (int64_t i = 0; i < width; ++i) dx[chosen[k * width + i] * width + i] = from[i];
        continue;
      }
      const auto length = static_cast<float>(offsets[k + 1] - offsets[k]);
      for (int64_t n = offsets[k]; n < offsets[k + 1]; ++n) {
        by_vectors(width,
                   [&](int64_t i, auto lanes) { store(dx + n * width + i, load(from + i, lanes) / length, lanes); });
      }
    }
  });
}

struct PoolRows : torch::autograd::Function<PoolRows> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::vector<int64_t>& offsets,
                            bool is_max) {
    const at::Tensor x_ND = x.contiguous();
    const int64_t width = x_ND.size(1);
    const auto num_ranges = static_cast<int64_t>(offsets.size()) - 1;
    VERBATIM_ASSERT(x_ND.size(0) < std::numeric_limits<int32_t>::max(), "pool_rows: {} rows", x_ND.size(0));
    const int64_t values_per_range = width + x_ND.numel() / std::max<int64_t>(1, num_ranges);
    at::Tensor out_KD = at::empty({num_ranges, width}, x_ND.options());
    at::Tensor chosen_KD;
    if (is_max) chosen_KD = at::empty({num_ranges, width}, x_ND.options().dtype(at::kInt));
    with_type(x_ND.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const T* from = x_ND.data_ptr<T>();
      T* to = out_KD.data_ptr<T>();
      if (is_max) {
        max_rows(from, offsets, width, values_per_range, to, chosen_KD.data_ptr<int32_t>());
      } else {
        mean_rows(from, offsets, width, values_per_range, to);
      }
    });
    if (is_max) context->save_for_backward({chosen_KD});
    context->saved_data["is_max"] = is_max;
    context->saved_data["offsets"] = offsets;
    context->saved_data["num_rows"] = x_ND.size(0);
    return out_KD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("pool_rows");
    const at::Tensor dy_KD = gradients[0].contiguous();
    const bool is_max = context->saved_data["is_max"].toBool();
    const std::vector<int64_t> offsets = context->saved_data["offsets"].toIntVector();
    const variable_list saved = context->get_saved_variables();
    at::Tensor dx_ND = at::empty({context->saved_data["num_rows"].toInt(), dy_KD.size(1)}, dy_KD.options());
    with_type(dy_KD.scalar_type(), [&](auto zero) {
      pool_backward_rows<decltype(zero)>(dy_KD, is_max ? saved[0].data_ptr<int32_t>() : nullptr, offsets, dx_ND);
    });
    return {dx_ND, {}, {}};
  }
};

}  // namespace

at::Tensor pool_rows(const at::Tensor& x_ND, const std::vector<int64_t>& offsets_K1, Pool pool) {
  check_matrix(x_ND, "pool_rows");
  check_offsets(offsets_K1, x_ND.size(0));
  if (!is_fast(x_ND)) return pool_rows_plain(x_ND, offsets_K1, pool);
  return PoolRows::apply(x_ND, offsets_K1, pool == Pool::kMax);
}

}  // namespace verbatim::nn
