#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of state_space: the recurrence itself, row after row, up to 64 channels of a head at a time. One decay per
// head makes a row cheap (a multiplication and an addition for each state, and no exponential), and the states of 64
// channels lie in the nearest cache; the published form with matrix products pays where those are much faster than
// vectors. Only the states in front of every stretch of kStretch rows are kept; the backward pass runs through a
// stretch forward again and then backward.
//
// Legend: H heads of P channels, S states, G groups of heads, E = G S; V vectors of 16 channels that are computed
// together, L = 16 V. Channels beyond P are zeros.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kStretch = 32;
constexpr int64_t kMostVectors = 4;

// Everything in float32, dense rows.
struct Problem {
  StateSpaceShape shape;
  int64_t vectors = 0;  // V
  int64_t blocks = 0;   // of channels in a head
  const float* x_NI = nullptr;
  const float* delta_NH = nullptr;
  const float* decay_NH = nullptr;
  const float* b_NE = nullptr;
  const float* c_NE = nullptr;
  const float* skip_H = nullptr;
  std::vector<int64_t> first_stretch;  // of each sequence

  [[nodiscard]] int64_t lanes() const { return vectors * kLanes; }
  [[nodiscard]] int64_t state_size() const { return shape.state * lanes(); }
  [[nodiscard]] int64_t width() const { return shape.heads * shape.head_width; }
  // Where the states of a stretch, a head and a block of channels lie among those that are kept.
  [[nodiscard]] int64_t kept(int64_t stretch, int64_t head, int64_t block) const {
    return ((stretch * shape.heads + head) * blocks + block) * state_size();
  }
};

template <int V>
struct Channels {
  F32x16 part[V];
};

template <int V>
Channels<V> load_channels(const float* from, int64_t count) {
  Channels<V> x;
  for (int v = 0; v < V; ++v) {
    const int64_t here = count - v * kLanes;
    x.part[v] = here >= kLanes ? load(from + v * kLanes) : here > 0 ? load(from + v * kLanes, here) : F32x16{};
  }
  return x;
}

template <int V>
void store_channels(float* to, const Channels<V>& x, int64_t count) {
  for (int v = 0; v < V; ++v) {
    const int64_t here = count - v * kLanes;
    if (here >= kLanes) {
      store(to + v * kLanes, x.part[v]);
    } else if (here > 0) {
      store(to + v * kLanes, x.part[v], here);
    }
  }
}

// One head's block of channels over one sequence. `kept_SL`: states in front of each stretch go there.
template <int V>
void scan(const Problem& problem, int64_t begin, int64_t end, int64_t stretch, int64_t head, int64_t block, float* kept,
          float* y_NI) {
  const auto& [H, P, G, S] = problem.shape;
  constexpr int64_t L = V * kLanes;
  const int64_t group = head / (H / G), column = head * P + block * L, count = std::min(L, P - block * L);
  std::vector<float> state(static_cast<size_t>(S * L), 0.0F);
  float* const state_SL = state.data();
  for (int64_t t = begin; t < end; ++t) {
    if (kept != nullptr && (t - begin) % kStretch == 0) {
      std::memcpy(kept + problem.kept(stretch + (t - begin) / kStretch, head, block), state_SL,
                  sizeof(float) * static_cast<size_t>(S * L));
    }
    const float* b = problem.b_NE + t * G * S + group * S;
    const float* c = problem.c_NE + t * G * S + group * S;
    const float decay = problem.decay_NH[t * H + head], delta = problem.delta_NH[t * H + head];
    const Channels<V> x = load_channels<V>(problem.x_NI + t * problem.width() + column, count);
    Channels<V> input, y;
    for (int v = 0; v < V; ++v) {
      input.part[v] = x.part[v] * delta;
      y.part[v] = x.part[v] * problem.skip_H[head];
    }
    for (int64_t s = 0; s < S; ++s) {
      for (int v = 0; v < V; ++v) {
        float* const place = state_SL + s * L + v * kLanes;
        const F32x16 now = load(place) * decay + input.part[v] * b[s];
        store(place, now);
        y.part[v] += now * c[s];
      }
    }
    store_channels<V>(y_NI + t * problem.width() + column, y, count);
  }
}

struct Gradients {
  const float* dy_NI = nullptr;
  float* dx_NI = nullptr;
  float* ddelta_NH = nullptr;  // of delta, what the decay does not say
  float* ddecay_NH = nullptr;
  float* db_NE = nullptr;  // sums grow
  float* dc_NE = nullptr;
  float* dskip = nullptr;  // of this sequence and head; grows
};

// `states` [kStretch + 1, S, L] is scratch; `carry` [S, L] is the gradient that comes from behind the stretch.
template <int V>
void scan_backward(const Problem& problem, int64_t begin, int64_t end, int64_t head, int64_t block, const float* kept,
                   float* states, float* carry_SL, const Gradients& out) {
  const auto& [H, P, G, S] = problem.shape;
  constexpr int64_t L = V * kLanes;
  const int64_t group = head / (H / G), column = head * P + block * L, count = std::min(L, P - block * L);
  const int64_t size = S * L;
  std::memcpy(states, kept, sizeof(float) * static_cast<size_t>(size));
  for (int64_t t = begin; t < end; ++t) {
    const float* b = problem.b_NE + t * G * S + group * S;
    const float decay = problem.decay_NH[t * H + head], delta = problem.delta_NH[t * H + head];
    Channels<V> input = load_channels<V>(problem.x_NI + t * problem.width() + column, count);
    for (int v = 0; v < V; ++v) input.part[v] *= delta;
    const float* before = states + (t - begin) * size;
    float* after = states + (t - begin + 1) * size;
    for (int64_t s = 0; s < S; ++s) {
      for (int v = 0; v < V; ++v) {
        const int64_t at = s * L + v * kLanes;
        store(after + at, load(before + at) * decay + input.part[v] * b[s]);
      }
    }
  }
  F32x16 dskip{};
  for (int64_t t = end - 1; t >= begin; --t) {
    const float* b = problem.b_NE + t * G * S + group * S;
    const float* c = problem.c_NE + t * G * S + group * S;
    float* db = out.db_NE + t * G * S + group * S;
    float* dc = out.dc_NE + t * G * S + group * S;
    const float decay = problem.decay_NH[t * H + head], delta = problem.delta_NH[t * H + head];
    const Channels<V> x = load_channels<V>(problem.x_NI + t * problem.width() + column, count);
    const Channels<V> dy = load_channels<V>(out.dy_NI + t * problem.width() + column, count);
    const float* before = states + (t - begin) * size;
    const float* after = states + (t - begin + 1) * size;
    Channels<V> dinput{};
    F32x16 ddecay{};
    for (int64_t s = 0; s < S; ++s) {
      F32x16 of_b{}, of_c{};
      for (int v = 0; v < V; ++v) {
        const int64_t at = s * L + v * kLanes;
        const F32x16 gradient = load(carry_SL + at) + dy.part[v] * c[s];
        of_c += dy.part[v] * load(after + at);
        of_b += gradient * x.part[v];
        dinput.part[v] += gradient * b[s];
        ddecay += gradient * load(before + at);
        store(carry_SL + at, gradient * decay);
      }
      db[s] += delta * sum_of_lanes(of_b);
      dc[s] += sum_of_lanes(of_c);
    }
    Channels<V> dx;
    F32x16 ddelta{};
    for (int v = 0; v < V; ++v) {
      dx.part[v] = dinput.part[v] * delta + dy.part[v] * problem.skip_H[head];
      ddelta += dinput.part[v] * x.part[v];
      dskip += dy.part[v] * x.part[v];
    }
    store_channels<V>(out.dx_NI + t * problem.width() + column, dx, count);
    out.ddelta_NH[t * H + head] += sum_of_lanes(ddelta);
    out.ddecay_NH[t * H + head] += sum_of_lanes(ddecay);
  }
  *out.dskip += sum_of_lanes(dskip);
}

// f(head, block) for the heads of a group, with V known to the compiler.
template <class F>
void with_vectors(int64_t vectors, F&& f) {
  if (vectors == 1) {
    f(std::integral_constant<int, 1>());
  } else if (vectors == 2) {
    f(std::integral_constant<int, 2>());
  } else {
    f(std::integral_constant<int, kMostVectors>());
  }
}

at::Tensor dense(const at::Tensor& x) { return x.to(at::kFloat).contiguous(); }

struct StateSpace : torch::autograd::Function<StateSpace> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& step,
                            const at::Tensor& log_decay, const at::Tensor& b, const at::Tensor& c,
                            const at::Tensor& skip, const Sequences& sequences, const StateSpaceShape& shape,
                            bool keeps_states) {
    const at::Tensor x_NI = dense(x), b_NE = dense(b), c_NE = dense(c), skip_H = dense(skip);
    const at::Tensor delta_NH = at::softplus(dense(step));
    const at::Tensor decay_NH = at::exp(-delta_NH * at::exp(log_decay));
    const Problem problem = describe(x_NI, delta_NH, decay_NH, b_NE, c_NE, skip_H, sequences, shape);
    at::Tensor y_NI = at::empty(x_NI.sizes(), x_NI.options());
    at::Tensor kept;
    if (keeps_states) kept = at::empty({problem.kept(problem.first_stretch.back(), 0, 0)}, x_NI.options());
    float* const states = keeps_states ? kept.data_ptr<float>() : nullptr;
    for_each_task(sequences.count() * shape.heads, at::get_num_threads(), [&](int64_t task) {
      const int64_t s = task / shape.heads, head = task % shape.heads;
      with_vectors(problem.vectors, [&](auto vectors) {
        for (int64_t block = 0; block < problem.blocks; ++block) {
          scan<vectors>(problem, sequences.offsets[s], sequences.offsets[s + 1], problem.first_stretch[s], head, block,
                        states, y_NI.data_ptr<float>());
        }
      });
    });
    context->save_for_backward({x, step, log_decay, b, c, skip, delta_NH, decay_NH, kept});
    context->saved_data["offsets"] = sequences.offsets;
    context->saved_data["shape"] = std::vector<int64_t>{shape.heads, shape.head_width, shape.groups, shape.state};
    return y_NI.to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("state_space");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &step = saved[1], &log_decay = saved[2], &b = saved[3], &c = saved[4],
                     &skip = saved[5], &delta_NH = saved[6], &decay_NH = saved[7], &kept = saved[8];
    const Sequences sequences{context->saved_data["offsets"].toIntVector()};
    const std::vector<int64_t> sizes = context->saved_data["shape"].toIntVector();
    const StateSpaceShape shape{.heads = sizes[0], .head_width = sizes[1], .groups = sizes[2], .state = sizes[3]};
    const at::Tensor x_NI = dense(x), b_NE = dense(b), c_NE = dense(c), skip_H = dense(skip);
    const at::Tensor dy_NI = dense(gradients[0]);
    const Problem problem = describe(x_NI, delta_NH, decay_NH, b_NE, c_NE, skip_H, sequences, shape);
    at::Tensor dx_NI = at::empty(x_NI.sizes(), x_NI.options()), db_NE = at::zeros_like(b_NE),
               dc_NE = at::zeros_like(c_NE), ddelta_NH = at::zeros_like(delta_NH), ddecay_NH = at::zeros_like(delta_NH);
    at::Tensor dskip_parts = at::zeros({std::max<int64_t>(sequences.count(), 1), shape.heads}, x_NI.options());
    // The heads of a group add to the same gradients of b and c: a task has all of them.
    for_each_task(sequences.count() * shape.groups, at::get_num_threads(), [&](int64_t task) {
      const int64_t s = task / shape.groups, group = task % shape.groups;
      const int64_t begin = sequences.offsets[s], end = sequences.offsets[s + 1];
      if (begin == end) return;
      thread_local ScratchBuffer scratch, carry_scratch;
      float* const states = scratch.get<float>((kStretch + 1) * problem.state_size());
      float* const carry_SL = carry_scratch.get<float>(problem.state_size());
      const int64_t heads_per_group = shape.heads / shape.groups;
      for (int64_t head = group * heads_per_group; head < (group + 1) * heads_per_group; ++head) {
        const Gradients out{.dy_NI = dy_NI.data_ptr<float>(),
                            .dx_NI = dx_NI.data_ptr<float>(),
                            .ddelta_NH = ddelta_NH.data_ptr<float>(),
                            .ddecay_NH = ddecay_NH.data_ptr<float>(),
                            .db_NE = db_NE.data_ptr<float>(),
                            .dc_NE = dc_NE.data_ptr<float>(),
                            .dskip = dskip_parts.data_ptr<float>() + s * shape.heads + head};
        with_vectors(problem.vectors, [&](auto vectors) {
          for (int64_t block = 0; block < problem.blocks; ++block) {
            std::fill_n(carry_SL, problem.state_size(), 0.0F);
            for (int64_t stretch = (end - begin - 1) / kStretch; stretch >= 0; --stretch) {
              const int64_t first = begin + stretch * kStretch;
              scan_backward<vectors>(
                  problem, first, std::min(end, first + kStretch), head, block,
                  kept.data_ptr<float>() + problem.kept(problem.first_stretch[s] + stretch, head, block), states,
                  carry_SL, out);
            }
          }
        });
      }
    });
    // decay = exp(-delta rate), delta = softplus(step).
    const at::Tensor rate_H = at::exp(log_decay);
    const at::Tensor dexponent_NH = ddecay_NH * decay_NH;
    const at::Tensor dstep_NH = (ddelta_NH - dexponent_NH * rate_H) * at::sigmoid(dense(step));
    const at::Tensor dlog_decay_H = -(dexponent_NH * delta_NH).sum(0) * rate_H;
    return {dx_NI.to(x.scalar_type()),
            dstep_NH.to(step.scalar_type()),
            dlog_decay_H,
            db_NE.to(b.scalar_type()),
            dc_NE.to(c.scalar_type()),
            sum_in_order(dskip_parts),
            {},
            {},
            {}};
  }

  static Problem describe(const at::Tensor& x_NI, const at::Tensor& delta_NH, const at::Tensor& decay_NH,
                          const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                          const Sequences& sequences, const StateSpaceShape& shape) {
    Problem problem;
    problem.shape = shape;
    const int64_t vectors = (shape.head_width + kLanes - 1) / kLanes;
    problem.vectors = vectors <= 2 ? vectors : kMostVectors;
    problem.blocks = (shape.head_width + problem.lanes() - 1) / problem.lanes();
    problem.x_NI = x_NI.data_ptr<float>();
    problem.delta_NH = delta_NH.data_ptr<float>();
    problem.decay_NH = decay_NH.data_ptr<float>();
    problem.b_NE = b_NE.data_ptr<float>();
    problem.c_NE = c_NE.data_ptr<float>();
    problem.skip_H = skip_H.data_ptr<float>();
    problem.first_stretch.push_back(0);
    for (int64_t s = 0; s < sequences.count(); ++s)
      problem.first_stretch.push_back(problem.first_stretch.back() + (sequences.length(s) + kStretch - 1) / kStretch);
    return problem;
  }
};

}  // namespace

at::Tensor state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                       const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                       const Sequences& sequences, const StateSpaceShape& shape) {
  check_state_space(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  if (!is_fast(x_NI) || !is_fast(step_NH) || !is_fast(b_NE) || !is_fast(c_NE) || !is_fast_float(log_decay_H) ||
      !is_fast_float(skip_H)) {
    return state_space_plain(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  }
  return StateSpace::apply(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape,
                           needs_gradient({x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H}));
}

}  // namespace verbatim::nn
