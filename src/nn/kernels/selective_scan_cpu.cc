#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of selective_scan: sixteen channels at a time, row after row, the states of these channels in registers or
// in the nearest cache. Only the states at the start of every stretch of kStretch rows are kept; the backward pass runs
// through a stretch forward again, keeping states and decays in the cache, and then backward.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kStretch = 32;
constexpr int64_t kWidestBlock = 256;
constexpr int64_t kNarrowestBlock = 64;
constexpr float kLog2E = 1.44269504F;
constexpr float kLn2 = 0.69314718F;

// Sixteen channels of one stretch. Rows are T <= kStretch, V = 16 lanes.
struct Lanes {
  int64_t rows;
  int64_t states;        // S
  const float* rate_SV;  // -exp(log_decay) log2(e): the decay is 2^(delta rate)
  const float* skip_V;
  const float* x_TV;
  const float* delta_TV;
  const float* b_TS;
  const float* c_TS;
};

// state [S, V] goes from before the first row to behind the last one.
void scan_lanes(const Lanes& in, float* state_SV, float* y_TV) {
  for (int64_t t = 0; t < in.rows; ++t) {
    const float* b = in.b_TS + t * in.states;
    const float* c = in.c_TS + t * in.states;
    const F32x16 x = load(in.x_TV + t * kLanes);
    const F32x16 delta = load(in.delta_TV + t * kLanes);
    const F32x16 input = delta * x;
    F32x16 y = load(in.skip_V) * x;
    for (int64_t n = 0; n < in.states; ++n) {
      const F32x16 decay = exp2(delta * load(in.rate_SV + n * kLanes));
      const F32x16 state = decay * load(state_SV + n * kLanes) + input * b[n];
      store(state_SV + n * kLanes, state);
      y += state * c[n];
    }
    store(y_TV + t * kLanes, y);
  }
}

struct LanesGradient {
  const float* dy_TV;
  const float* slope_TV;  // of softplus
  float* dx_TV;           // may be dy
  float* dstep_TV;        // may be slope
  float* carry_SV;        // gradient that comes from the row behind the stretch; leaves as that for the row in front
  // Sums that grow: over rows, and over channels lane by lane.
  float* drate_SV;  // of delta times the gradient of the logarithm of the decay
  float* dskip_V;
  float* db_TSV;
  float* dc_TSV;
};

// `states` [T + 1, S, V]: row 0 is the state before the stretch, the others are filled in. `decays` [T, S, V].
void scan_lanes_backward(const Lanes& in, const LanesGradient& out, float* states, float* decays) {
  const int64_t row = in.states * kLanes;
  for (int64_t t = 0; t < in.rows; ++t) {
    const float* b = in.b_TS + t * in.states;
    const F32x16 delta = load(in.delta_TV + t * kLanes);
    const F32x16 input = delta * load(in.x_TV + t * kLanes);
    for (int64_t n = 0; n < in.states; ++n) {
      const int64_t at = t * row + n * kLanes;
      const F32x16 decay = exp2(delta * load(in.rate_SV + n * kLanes));
      store(decays + at, decay);
      store(states + at + row, decay * load(states + at) + input * b[n]);
    }
  }
  const F32x16 skip = load(in.skip_V);
  F32x16 dskip = load(out.dskip_V);
  for (int64_t t = in.rows - 1; t >= 0; --t) {
    const float* b = in.b_TS + t * in.states;
    const float* c = in.c_TS + t * in.states;
    const F32x16 x = load(in.x_TV + t * kLanes);
    const F32x16 delta = load(in.delta_TV + t * kLanes);
    const F32x16 dy = load(out.dy_TV + t * kLanes);
    const F32x16 input = delta * x;
    F32x16 dinput{}, dlog{};
    for (int64_t n = 0; n < in.states; ++n) {
      const int64_t at = t * row + n * kLanes;
      float* carry = out.carry_SV + n * kLanes;
      float* drate = out.drate_SV + n * kLanes;
      const F32x16 dstate = load(carry) + dy * c[n];
      store(out.dc_TSV + at, load(out.dc_TSV + at) + dy * load(states + at + row));
      store(out.db_TSV + at, load(out.db_TSV + at) + dstate * input);
      dinput += dstate * b[n];
      const F32x16 from_before = dstate * load(decays + at);
      store(carry, from_before);
      const F32x16 dexponent = from_before * load(states + at);
      dlog += dexponent * load(in.rate_SV + n * kLanes);
      store(drate, load(drate) + dexponent * delta);
    }
    dskip += dy * x;
    const F32x16 ddelta = dinput * x + dlog * kLn2;
    store(out.dx_TV + t * kLanes, dinput * delta + skip * dy);
    store(out.dstep_TV + t * kLanes, ddelta * load(out.slope_TV + t * kLanes));
  }
  store(out.dskip_V, dskip);
}

// What both directions share. Channels are padded to whole vectors, `vectors` of them; padding has x = 0.
struct Frame {
  const Sequences& sequences;
  SequenceTasks tasks;
  int64_t channels;
  int64_t states;
  int64_t vectors;
  std::vector<int64_t> first_kept;  // of each sequence, in the kept states: every stretch but its first has one
  at::Tensor rate, skip, b, c;      // [vectors, S, V], [vectors, V], [N, S]

  Frame(const Sequences& sequences, const at::Tensor& log_decay_IS, const at::Tensor& b_NS, const at::Tensor& c_NS,
        const at::Tensor& skip_I)
      : sequences(sequences),
        tasks(sequences, log_decay_IS.size(0), kWidestBlock, kNarrowestBlock),
        channels(log_decay_IS.size(0)),
        states(log_decay_IS.size(1)),
        vectors((channels + kLanes - 1) / kLanes),
        first_kept{0},
        b(b_NS.to(at::kFloat).contiguous()),
        c(c_NS.to(at::kFloat).contiguous()) {
    for (int64_t s = 0; s < sequences.count(); ++s) {
      const int64_t stretches = (sequences.length(s) + kStretch - 1) / kStretch;
      first_kept.push_back(first_kept.back() + std::max<int64_t>(0, stretches - 1));
    }
    rate = in_lanes(at::exp(log_decay_IS) * -kLog2E);
    skip = in_lanes(skip_I.unsqueeze(1));
  }

  // [I, S] as [vectors, S, V].
  [[nodiscard]] at::Tensor in_lanes(const at::Tensor& x_IS) const {
    const at::Tensor padded = at::constant_pad_nd(x_IS, {0, 0, 0, vectors * kLanes - channels});
    return padded.view({vectors, kLanes, -1}).transpose(1, 2).contiguous();
  }
  // Its inverse.
  [[nodiscard]] at::Tensor from_lanes(const at::Tensor& x) const {
    return x.transpose(1, 2).reshape({vectors * kLanes, -1}).narrow(0, 0, channels).contiguous();
  }

  [[nodiscard]] at::Tensor kept_states() const {
    return at::empty({first_kept.back(), vectors, states, kLanes}, rate.options());
  }
  [[nodiscard]] int threads() const {
    return sequences.rows() * channels * states < kValuesPerThread ? 1 : at::get_num_threads();
  }

  // One vector of channels, `index` of all, with the staged rows of its block.
  [[nodiscard]] Lanes lanes(int64_t index, int64_t first_row, int64_t rows, const float* x, const float* delta) const {
    return {rows, states, rate.data_ptr<float>() + index * states * kLanes, skip.data_ptr<float>() + index * kLanes,
            x,    delta,  b.data_ptr<float>() + first_row * states,         c.data_ptr<float>() + first_row * states};
  }
};

// Rows [first, first + rows) of `width` columns, as [vectors of the block, kStretch, V] in float32. f(offset, value)
// stores.
template <class T, class F>
void stage(const Rows<const T>& from, int64_t first, int64_t rows, int64_t column, int64_t width, const F& f) {
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = from.row(first + t) + column;
    by_vectors(width, [&](int64_t i, auto lanes) { f(i * kStretch + t * kLanes, load(row + i, lanes)); });
  }
}

template <class T>
void unstage(const float* from, int64_t rows, int64_t width, T* to, int64_t row_width) {
  for (int64_t t = 0; t < rows; ++t) {
    by_vectors(width, [&](int64_t i, auto lanes) {
      store(to + t * row_width + i, load(from + i * kStretch + t * kLanes), lanes);
    });
  }
}

// kept: null where no gradient is asked for.
template <class X, class D>
void forward_task(const Frame& frame, const Rows<const X>& x, const Rows<const D>& step, int64_t task, float* kept,
                  X* y_NI) {
  const int64_t group = frame.tasks.group(task);
  const int64_t column = frame.tasks.begin(frame.tasks.block(task));
  const int64_t width = frame.tasks.end(frame.tasks.block(task)) - column;
  const int64_t vectors = (width + kLanes - 1) / kLanes, first_vector = column / kLanes;
  const int64_t state_size = frame.states * kLanes;
  thread_local ScratchBuffer state_memory, staged_memory;
  float* state = state_memory.get<float>(vectors * state_size);
  float* x_staged = staged_memory.get<float>(3 * vectors * kStretch * kLanes);
  float* delta_staged = x_staged + vectors * kStretch * kLanes;
  float* y_staged = delta_staged + vectors * kStretch * kLanes;

  for (int64_t s = frame.tasks.first_sequence[group]; s < frame.tasks.first_sequence[group + 1]; ++s) {
    std::fill_n(state, vectors * state_size, 0.0F);
    const int64_t start = frame.sequences.offsets[s], stop = frame.sequences.offsets[s + 1];
    for (int64_t first = start; first < stop; first += kStretch) {
      const int64_t rows = std::min(kStretch, stop - first);
      if (kept != nullptr && first > start) {
        const int64_t index = frame.first_kept[s] + (first - start) / kStretch - 1;
        std::copy_n(state, vectors * state_size, kept + (index * frame.vectors + first_vector) * state_size);
      }
      stage(x, first, rows, column, width, [&](int64_t at, F32x16 v) { store(x_staged + at, v); });
      stage(step, first, rows, column, width,
            [&](int64_t at, F32x16 v) { store(delta_staged + at, softplus(v).value); });
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t at = v * kStretch * kLanes;
        scan_lanes(frame.lanes(first_vector + v, first, rows, x_staged + at, delta_staged + at), state + v * state_size,
                   y_staged + at);
      }
      unstage(y_staged, rows, width, y_NI + first * frame.channels + column, frame.channels);
    }
  }
}

// The partial sums: drate and dskip over the sequences of a group, db and dc over the channels of a block.
struct Gradients {
  at::Tensor x_NI, step_NI;
  at::Tensor rate, skip;  // [groups, vectors, S, V], [groups, vectors, V]
  at::Tensor b, c;        // [blocks, N, S]
};

template <class X, class D>
void backward_task(const Frame& frame, const Rows<const X>& x, const Rows<const D>& step, const Rows<const X>& dy,
                   int64_t task, const float* kept, Gradients& gradients) {
  const int64_t group = frame.tasks.group(task), block = frame.tasks.block(task);
  const int64_t column = frame.tasks.begin(block), width = frame.tasks.end(block) - column;
  const int64_t vectors = (width + kLanes - 1) / kLanes, first_vector = column / kLanes;
  const int64_t state_size = frame.states * kLanes, staged_size = vectors * kStretch * kLanes;
  thread_local ScratchBuffer staged_memory, carry_memory, states_memory, decays_memory, sums_memory;
  float* x_staged = staged_memory.get<float>(4 * staged_size);
  float* delta_staged = x_staged + staged_size;
  float* slope_staged = delta_staged + staged_size;
  float* dy_staged = slope_staged + staged_size;
  float* carry = carry_memory.get<float>(vectors * state_size);
  float* states = states_memory.get<float>((kStretch + 1) * state_size);
  float* decays = decays_memory.get<float>(kStretch * state_size);
  float* db_sums = sums_memory.get<float>(2 * kStretch * state_size);
  float* dc_sums = db_sums + kStretch * state_size;
  float* drate = gradients.rate.data_ptr<float>() + (group * frame.vectors + first_vector) * state_size;
  float* dskip = gradients.skip.data_ptr<float>() + (group * frame.vectors + first_vector) * kLanes;
  const int64_t sums_begin = block * frame.sequences.rows() * frame.states;
  float* db = gradients.b.data_ptr<float>() + sums_begin;
  float* dc = gradients.c.data_ptr<float>() + sums_begin;
  X* dx = gradients.x_NI.data_ptr<X>() + column;
  D* dstep = gradients.step_NI.data_ptr<D>() + column;

  for (int64_t s = frame.tasks.first_sequence[group]; s < frame.tasks.first_sequence[group + 1]; ++s) {
    std::fill_n(carry, vectors * state_size, 0.0F);
    const int64_t start = frame.sequences.offsets[s], stop = frame.sequences.offsets[s + 1];
    for (int64_t stretch = (stop - start + kStretch - 1) / kStretch - 1; stretch >= 0; --stretch) {
      const int64_t first = start + stretch * kStretch, rows = std::min(kStretch, stop - first);
      stage(x, first, rows, column, width, [&](int64_t at, F32x16 v) { store(x_staged + at, v); });
      stage(dy, first, rows, column, width, [&](int64_t at, F32x16 v) { store(dy_staged + at, v); });
      stage(step, first, rows, column, width, [&](int64_t at, F32x16 v) {
        const SoftplusParts parts = softplus(v);
        store(delta_staged + at, parts.value);
        store(slope_staged + at, parts.slope);
      });
      std::fill_n(db_sums, rows * state_size, 0.0F);
      std::fill_n(dc_sums, rows * state_size, 0.0F);
      for (int64_t v = 0; v < vectors; ++v) {
        if (stretch == 0) {
          std::fill_n(states, state_size, 0.0F);
        } else {
          const int64_t index = frame.first_kept[s] + stretch - 1;
          std::copy_n(kept + (index * frame.vectors + first_vector + v) * state_size, state_size, states);
        }
        const int64_t at = v * kStretch * kLanes;
        scan_lanes_backward(frame.lanes(first_vector + v, first, rows, x_staged + at, delta_staged + at),
                            {dy_staged + at, slope_staged + at, dy_staged + at, slope_staged + at,
                             carry + v * state_size, drate + v * state_size, dskip + v * kLanes, db_sums, dc_sums},
                            states, decays);
      }
      unstage(dy_staged, rows, width, dx + first * frame.channels, frame.channels);
      unstage(slope_staged, rows, width, dstep + first * frame.channels, frame.channels);
      // The rows of db and dc lie one after the other: their sums can be formed sixteen at a time.
      const int64_t count = rows * frame.states, full = count / kLanes * kLanes;
      for (int64_t i = 0; i < full; i += kLanes) {
        store(db + first * frame.states + i, sums_of_lanes(db_sums + i * kLanes));
        store(dc + first * frame.states + i, sums_of_lanes(dc_sums + i * kLanes));
      }
      for (int64_t i = full; i < count; ++i) {
        db[first * frame.states + i] = sum_of_lanes(load(db_sums + i * kLanes));
        dc[first * frame.states + i] = sum_of_lanes(load(dc_sums + i * kLanes));
      }
    }
  }
}

struct SelectiveScan : torch::autograd::Function<SelectiveScan> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& step,
                            const at::Tensor& log_decay, const at::Tensor& b, const at::Tensor& c,
                            const at::Tensor& skip, const Sequences& sequences, bool needs_gradient) {
    const at::Tensor x_NI = with_dense_rows(x), step_NI = with_dense_rows(step);
    const Frame frame(sequences, log_decay, b, c, skip);
    at::Tensor y_NI = at::empty(x_NI.sizes(), x_NI.options());
    at::Tensor kept;
    if (needs_gradient) kept = frame.kept_states();
    with_type(x_NI.scalar_type(), [&](auto x_zero) {
      with_type(step_NI.scalar_type(), [&](auto step_zero) {
        using X = decltype(x_zero);
        using D = decltype(step_zero);
        const Rows<const X> x_rows(x_NI);
        const Rows<const D> step_rows(step_NI);
        float* kept_data = needs_gradient ? kept.data_ptr<float>() : nullptr;
        for_each_task(frame.tasks.count(), frame.threads(), [&](int64_t task) {
          forward_task<X, D>(frame, x_rows, step_rows, task, kept_data, y_NI.data_ptr<X>());
        });
      });
    });
    if (needs_gradient) {
      context->save_for_backward({x_NI, step_NI, log_decay, b, c, skip, kept});
      context->saved_data["offsets"] = sequences.offsets;
    }
    return y_NI;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("selective_scan");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &step_NI = saved[1], &b_NS = saved[3], &c_NS = saved[4];
    const Sequences sequences{context->saved_data["offsets"].toIntVector()};
    const at::Tensor dy_NI = with_dense_rows(gradients[0]);
    const Frame frame(sequences, saved[2], b_NS, c_NS, saved[5]);
    const int64_t rows = sequences.rows(), groups = frame.tasks.groups();
    const at::TensorOptions options = frame.rate.options();
    Gradients parts{at::empty(x_NI.sizes(), x_NI.options()),
                    at::empty(step_NI.sizes(), step_NI.options()),
                    at::zeros({groups, frame.vectors, frame.states, kLanes}, options),
                    at::zeros({groups, frame.vectors, 1, kLanes}, options),
                    at::empty({frame.tasks.blocks, rows, frame.states}, options),
                    at::empty({frame.tasks.blocks, rows, frame.states}, options)};
    with_type(x_NI.scalar_type(), [&](auto x_zero) {
      with_type(step_NI.scalar_type(), [&](auto step_zero) {
        using X = decltype(x_zero);
        using D = decltype(step_zero);
        const Rows<const X> x_rows(x_NI), dy_rows(dy_NI);
        const Rows<const D> step_rows(step_NI);
        for_each_task(frame.tasks.count(), frame.threads(), [&](int64_t task) {
          backward_task<X, D>(frame, x_rows, step_rows, dy_rows, task, saved[6].data_ptr<float>(), parts);
        });
      });
    });
    // d decay / d log_decay = decay delta rate ln 2.
    const at::Tensor dlog_decay_IS = frame.from_lanes(sum_in_order(parts.rate) * frame.rate * kLn2);
    const at::Tensor dskip_I = frame.from_lanes(sum_in_order(parts.skip)).squeeze(1);
    return {parts.x_NI,
            parts.step_NI,
            dlog_decay_IS,
            sum_in_order(parts.b).to(b_NS.scalar_type()),
            sum_in_order(parts.c).to(c_NS.scalar_type()),
            dskip_I,
            {},
            {}};
  }
};

}  // namespace

at::Tensor selective_scan(const at::Tensor& x_NI, const at::Tensor& step_NI, const at::Tensor& log_decay_IS,
                          const at::Tensor& b_NS, const at::Tensor& c_NS, const at::Tensor& skip_I,
                          const Sequences& sequences) {
  check_selective_scan(x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I, sequences);
  if (!is_fast(x_NI) || !is_fast(step_NI) || !is_fast(b_NS) || !is_fast(c_NS) || !is_fast_float(log_decay_IS) ||
      !is_fast_float(skip_I)) {
    return selective_scan_plain(x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I, sequences);
  }
  return SelectiveScan::apply(x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I, sequences,
                              needs_gradient({x_NI, step_NI, log_decay_IS, b_NS, c_NS, skip_I}));
}

}  // namespace verbatim::nn
