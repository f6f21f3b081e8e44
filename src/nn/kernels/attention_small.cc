#include <algorithm>
#include <cmath>
#include <type_traits>

#include "nn/kernels/attention_tiles.h"
#include "nn/kernels/task_loop.h"
#include "nn/kernels/vector_math.h"

// Attention where each query sees a few keys only (patches over their bytes, bytes over their patch): tiles would be
// almost empty, so this goes query by query, with a head's row as the vector.
namespace verbatim::nn {
namespace {

constexpr int64_t kQueriesPerTask = 256;
constexpr float kLog2E = 1.44269504f;
constexpr float kSeesNothing = 1e30f;
constexpr int64_t kMostVectors = kLargestSmallWidth / kLanes;

struct Workspace {
  ScratchBuffer scores, grad_key, grad_value;
};

Workspace& thread_workspace() {
  thread_local Workspace workspace;
  return workspace;
}

// One head of one row, in registers when `vectors` is known at compile time.
template <class T, int vectors>
struct Row {
  F32x16 part[vectors];

  static Row read(const T* p, int64_t width) {
    Row row;
    for (int i = 0; i < vectors; ++i) row.part[i] = read_part(p, width, i);
    return row;
  }
  static Row read_sums(const float* p) {
    Row row;
    for (int i = 0; i < vectors; ++i) row.part[i] = load(p + i * kLanes);
    return row;
  }
  void write(T* p, int64_t width) const {
    for (int i = 0; i < vectors; ++i) write_part(p, width, i);
  }
  [[nodiscard]] float dot(const Row& other) const {
    F32x16 sum = part[0] * other.part[0];
    for (int i = 1; i < vectors; ++i) sum += part[i] * other.part[i];
    return sum_of_lanes(sum);
  }
  static F32x16 read_part(const T* p, int64_t width, int64_t i) {
    const int64_t lanes = std::min(kLanes, width - i * kLanes);
    return lanes > 0 ? load_part(p + i * kLanes, lanes) : F32x16{};
  }
  void write_part(T* p, int64_t width, int64_t i) const {
    const int64_t lanes = std::min(kLanes, width - i * kLanes);
    if (lanes > 0) store_part(p + i * kLanes, part[i], lanes);
  }
  void add(float factor, const Row& other) {
    for (int i = 0; i < vectors; ++i) part[i] += factor * other.part[i];
  }
  void multiply(float factor) {
    for (int i = 0; i < vectors; ++i) part[i] *= factor;
  }
  void add_to(float* p, float factor) const {
    for (int i = 0; i < vectors; ++i) store(p + i * kLanes, load(p + i * kLanes) + factor * part[i]);
  }
};

template <class T, class Void>
auto* head_row(HeadColumns<Void*> columns, int64_t row, int64_t offset) {
  using Element = std::conditional_t<std::is_const_v<Void>, const T, T>;
  return static_cast<Element*>(columns.data) + row * columns.stride + offset;
}

template <class T, int vectors>
void forward(const AttentionProblem& p, const AttentionOutput& result) {
  using R = Row<T, vectors>;
  const int64_t d = p.head_width;
  const int64_t group = p.heads / p.key_value_heads;
  const float scale = kLog2E / std::sqrt(static_cast<float>(d));
  const int64_t tasks = (p.queries + kQueriesPerTask - 1) / kQueriesPerTask;
  for_each_task(tasks, p.threads, [&](int64_t task) {
    const int64_t last = std::min((task + 1) * kQueriesPerTask, p.queries);
    for (int64_t query = task * kQueriesPerTask; query < last; ++query) {
      const int64_t begin = p.begin[query];
      const int64_t count = std::max<int64_t>(p.end[query] - begin, 0);
      const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
      float* scores = thread_workspace().scores.get<float>(padded + kLanes);
      for (int64_t head = 0; head < p.heads; ++head) {
        const int64_t offset = head / group * d;
        const R q = R::read(head_row<T>(p.q, query, head * d), d);
        float top = -1e30f;
        for (int64_t j = 0; j < count; ++j) {
          scores[j] = scale * q.dot(R::read(head_row<T>(p.k, begin + j, offset), d));
          top = std::max(top, scores[j]);
        }
        std::fill(scores + count, scores + padded, -1e30f);
        F32x16 sums = {};
        for (int64_t j = 0; j < padded; j += kLanes) {
          const F32x16 weight = exp2(load(scores + j) - top);
          store(scores + j, weight);
          sums += weight;
        }
        const float sum = sum_of_lanes(sums);
        R out = {};
        for (int64_t j = 0; j < count; ++j) out.add(scores[j], R::read(head_row<T>(p.v, begin + j, offset), d));
        if (count > 0) out.multiply(1 / sum);
        out.write(head_row<T>(result.out, query, head * d), d);
        result.log_sum[head * p.queries + query] = count > 0 ? top + std::log2(sum) : kSeesNothing;
      }
    }
  });
}

template <class T, int vectors>
void backward(const AttentionProblem& p, const AttentionGradients& gradients) {
  using R = Row<T, vectors>;
  constexpr int64_t kWidth = vectors * kLanes;
  const int64_t d = p.head_width;
  const int64_t group = p.heads / p.key_value_heads;
  const float scale = kLog2E / std::sqrt(static_cast<float>(d));
  const float factor = 1 / std::sqrt(static_cast<float>(d));
  // A segment's keys belong to it alone, so its task can add to them.
  for_each_task(p.num_segments * p.key_value_heads, p.threads, [&](int64_t task) {
    const AttentionSegment& segment = p.segments[task / p.key_value_heads];
    const int64_t g = task % p.key_value_heads;
    const int64_t keys = segment.key_end - segment.key_begin;
    float* grad_key = thread_workspace().grad_key.get<float>(keys * kWidth);
    float* grad_value = thread_workspace().grad_value.get<float>(keys * kWidth);
    std::fill_n(grad_key, keys * kWidth, 0.0f);
    std::fill_n(grad_value, keys * kWidth, 0.0f);
    for (int64_t query = segment.query_begin; query < segment.query_end; ++query) {
      const int64_t begin = p.begin[query];
      const int64_t count = std::max<int64_t>(p.end[query] - begin, 0);
      const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
      float* scores = thread_workspace().scores.get<float>(padded + kLanes);
      for (int64_t head = g * group; head < (g + 1) * group; ++head) {
        const R q = R::read(head_row<T>(p.q, query, head * d), d);
        const R grad_out = R::read(head_row<T>(gradients.grad_out, query, head * d), d);
        const float dot = grad_out.dot(R::read(head_row<T>(gradients.out, query, head * d), d));
        const float log_sum = gradients.log_sum[head * p.queries + query];
        for (int64_t j = 0; j < count; ++j) {
          scores[j] = scale * q.dot(R::read(head_row<T>(p.k, begin + j, g * d), d)) - log_sum;
        }
        for (int64_t j = 0; j < count; j += kLanes) store(scores + j, exp2(load(scores + j)));
        R grad_q = {};
        for (int64_t j = 0; j < count; ++j) {
          const int64_t at = (begin + j - segment.key_begin) * kWidth;
          const float grad_weight = grad_out.dot(R::read(head_row<T>(p.v, begin + j, g * d), d));
          const float grad_score = factor * scores[j] * (grad_weight - dot);
          grad_q.add(grad_score, R::read(head_row<T>(p.k, begin + j, g * d), d));
          q.add_to(grad_key + at, grad_score);
          grad_out.add_to(grad_value + at, scores[j]);
        }
        grad_q.write(head_row<T>(gradients.grad_q, query, head * d), d);
      }
    }
    for (int64_t j = 0; j < keys; ++j) {
      R::read_sums(grad_key + j * kWidth).write(head_row<T>(gradients.grad_k, segment.key_begin + j, g * d), d);
      R::read_sums(grad_value + j * kWidth).write(head_row<T>(gradients.grad_v, segment.key_begin + j, g * d), d);
    }
  });
}

// Calls f.template operator()<T, vectors>() with the vectors that a head's row needs.
template <class F>
void dispatch(const AttentionProblem& problem, const F& f) {
  const auto with_type = [&]<class T>() {
    const int64_t vectors = (problem.head_width + kLanes - 1) / kLanes;
    if (vectors <= 1) return f.template operator()<T, 1>();
    if (vectors <= 2) return f.template operator()<T, 2>();
    if (vectors <= 4) return f.template operator()<T, 4>();
    if (vectors <= 8) return f.template operator()<T, 8>();
    f.template operator()<T, static_cast<int>(kMostVectors)>();
  };
  if (problem.type == AttentionType::kFloat) {
    with_type.template operator()<float>();
  } else {
    with_type.template operator()<BFloat16Bits>();
  }
}

}  // namespace

void small_range_forward(const AttentionProblem& problem, const AttentionOutput& result) {
  dispatch(problem, [&]<class T, int vectors>() { forward<T, vectors>(problem, result); });
}

void small_range_backward(const AttentionProblem& problem, const AttentionGradients& gradients) {
  dispatch(problem, [&]<class T, int vectors>() { backward<T, vectors>(problem, gradients); });
}

}  // namespace verbatim::nn
