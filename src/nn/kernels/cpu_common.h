#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "base/error.h"
#include "nn/kernels/task_loop.h"

// What the fast CPU forms share: which tensors they take, how rows are dealt out to threads. Results never depend on
// the number of threads: rows are independent, and sums over rows are formed per fixed block and added in order of the
// blocks.
namespace verbatim::nn {

inline bool is_float_or_bfloat16(at::ScalarType type) { return type == at::kFloat || type == at::kBFloat16; }

// On the CPU, in a type the fast forms are compiled for.
inline bool is_fast(const at::Tensor& x) { return x.is_cpu() && is_float_or_bfloat16(x.scalar_type()); }

inline bool is_fast_float(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

// Calls f with a value of the C++ type.
template <class F>
void with_type(at::ScalarType type, F&& f) {
  if (type == at::kFloat) {
    f(float{});
  } else {
    VERBATIM_ASSERT(type == at::kBFloat16);
    f(c10::BFloat16{});
  }
}

// Below this many values a second thread costs more than it brings.
inline constexpr int64_t kValuesPerThread = 1 << 15;

// f(begin, end) over disjoint ranges of rows that cover [0, rows).
template <class F>
void for_rows(int64_t rows, int64_t values_per_row, F&& f) {
  if (rows == 0) return;
  at::parallel_for(0, rows, std::max<int64_t>(1, kValuesPerThread / std::max<int64_t>(1, values_per_row)),
                   [&f](int64_t begin, int64_t end) { call_one_copy(f, begin, end); });
}

// A cut of the rows that depends on their number alone: few enough blocks that a partial sum for each costs little.
struct RowBlocks {
  int64_t rows;
  int64_t rows_per_block = std::max<int64_t>(64, (rows + 31) / 32);
  int64_t count = (rows + rows_per_block - 1) / rows_per_block;

  [[nodiscard]] int64_t begin(int64_t block) const { return block * rows_per_block; }
  [[nodiscard]] int64_t end(int64_t block) const { return std::min(rows, (block + 1) * rows_per_block); }
};

// Whether the backward pass will be asked for the gradient of any of these. Only outside of an autograd function, which
// switches gradients off while it runs.
inline bool needs_gradient(std::initializer_list<at::Tensor> inputs) {
  return at::GradMode::is_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& x) { return x.requires_grad(); });
}

// The hand-written gradients are not themselves differentiable.
inline void check_first_derivative(const char* where) {
  VERBATIM_ASSERT(!at::GradMode::is_enabled(), "{}: the fast form has no second derivative; use the plain form", where);
}

}  // namespace verbatim::nn
