#include <algorithm>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of smooth_rows: one pass over the rows, the running row in the cache.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kWidestBlock = 1024;
constexpr int64_t kNarrowestBlock = 64;

// A block of columns of the rows of a few sequences.
struct Stretch {
  int64_t first_sequence, last_sequence;
  int64_t column, width;
};

template <class F>
void for_stretches(const Sequences& sequences, const SequenceTasks& tasks, const F& f) {
  const bool is_small = sequences.rows() * tasks.width < kValuesPerThread;
  for_each_task(tasks.count(), is_small ? 1 : at::get_num_threads(), [&](int64_t task) {
    const int64_t group = tasks.group(task), block = tasks.block(task);
    f(Stretch{tasks.first_sequence[group], tasks.first_sequence[group + 1], tasks.begin(block),
              tasks.end(block) - tasks.begin(block)},
      block);
  });
}

float* zeroed_row(int64_t width) {
  thread_local ScratchBuffer memory;
  float* row = memory.get<float>(width);
  std::fill_n(row, width, 0.0F);
  return row;
}

template <class T>
void smooth(const Rows<const T>& x, const float* p_K, const Sequences& sequences, const Stretch& part, T* e_KD,
            int64_t row_width) {
  for (int64_t s = part.first_sequence; s < part.last_sequence; ++s) {
    float* running = zeroed_row(part.width);
    for (int64_t k = sequences.offsets[s]; k < sequences.offsets[s + 1]; ++k) {
      const float p = p_K[k];
      const T* from = x.row(k) + part.column;
      T* to = e_KD + k * row_width + part.column;
      by_vectors(part.width, [&](int64_t i, auto lanes) {
        const F32x16 e = p * load(from + i, lanes) + (1.0F - p) * load(running + i, lanes);
        store(running + i, e, lanes);
        store(to + i, e, lanes);
      });
    }
  }
}

// g[k] = de[k] + (1 - p[k+1]) g[k+1], dx[k] = p[k] g[k], dp[k] = sum over columns of g[k] (x[k] - e[k-1]).
template <class T>
void smooth_backward(const Rows<const T>& x, const float* p_K, const Rows<const T>& e, const Rows<const T>& de,
                     const Sequences& sequences, const Stretch& part, T* dx_KD, int64_t row_width, float* dp_K) {
  for (int64_t s = part.first_sequence; s < part.last_sequence; ++s) {
    float* from_next = zeroed_row(part.width);  // (1 - p[k+1]) g[k+1]
    const int64_t start = sequences.offsets[s];
    for (int64_t k = sequences.offsets[s + 1] - 1; k >= start; --k) {
      const float p = p_K[k];
      const T* x_part = x.row(k) + part.column;
      const T* de_part = de.row(k) + part.column;
      const T* before = k > start ? e.row(k - 1) + part.column : nullptr;
      T* dx_part = dx_KD + k * row_width + part.column;
      F32x16 dp{};
      by_vectors(part.width, [&](int64_t i, auto lanes) {
        const F32x16 g = load(de_part + i, lanes) + load(from_next + i, lanes);
        F32x16 difference = load(x_part + i, lanes);
        if (before != nullptr) difference -= load(before + i, lanes);
        dp += g * difference;
        store(dx_part + i, p * g, lanes);
        store(from_next + i, (1.0F - p) * g, lanes);
      });
      dp_K[k] = sum_of_lanes(dp);
    }
  }
}

struct SmoothRows : torch::autograd::Function<SmoothRows> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& p,
                            const Sequences& sequences) {
    const at::Tensor x_KD = with_dense_rows(x);
    const at::Tensor p_K = p.contiguous();
    at::Tensor e_KD = at::empty(x_KD.sizes(), x_KD.options());
    const SequenceTasks tasks(sequences, x_KD.size(1), kWidestBlock, kNarrowestBlock);
    with_type(x_KD.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const Rows<const T> rows(x_KD);
      for_stretches(sequences, tasks, [&](const Stretch& part, int64_t /*block*/) {
        smooth<T>(rows, p_K.data_ptr<float>(), sequences, part, e_KD.data_ptr<T>(), tasks.width);
      });
    });
    context->save_for_backward({x_KD, p_K, e_KD});
    context->saved_data["offsets"] = sequences.offsets;
    return e_KD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("smooth_rows");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_KD = saved[0], &p_K = saved[1], &e_KD = saved[2];
    const at::Tensor de_KD = with_dense_rows(gradients[0]);
    const Sequences sequences{context->saved_data["offsets"].toIntVector()};
    const SequenceTasks tasks(sequences, x_KD.size(1), kWidestBlock, kNarrowestBlock);
    at::Tensor dx_KD = at::empty(x_KD.sizes(), x_KD.options());
    at::Tensor dp_blocks = at::zeros({tasks.blocks, x_KD.size(0)}, p_K.options());
    with_type(x_KD.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const Rows<const T> x_rows(x_KD), e_rows(e_KD), de_rows(de_KD);
      for_stretches(sequences, tasks, [&](const Stretch& part, int64_t block) {
        smooth_backward<T>(x_rows, p_K.data_ptr<float>(), e_rows, de_rows, sequences, part, dx_KD.data_ptr<T>(),
                           tasks.width, dp_blocks.data_ptr<float>() + block * x_KD.size(0));
      });
    });
    return {dx_KD, sum_in_order(dp_blocks), {}};
  }
};

}  // namespace

at::Tensor smooth_rows(const at::Tensor& x_KD, const at::Tensor& p_K, const Sequences& sequences) {
  check_smooth_rows(x_KD, p_K, sequences);
  if (!is_fast(x_KD) || !is_fast_float(p_K)) return smooth_rows_plain(x_KD, p_K, sequences);
  return SmoothRows::apply(x_KD, p_K, sequences);
}

}  // namespace verbatim::nn
