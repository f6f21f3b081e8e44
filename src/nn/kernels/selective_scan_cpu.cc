#include <algorithm>
#include <array>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/decay.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of selective_scan: as many channels at a time as a register holds, row after row, the states of these
// channels in registers, a few states after the other. Only the states at the start of every stretch of kStretch rows
// are kept; the backward pass runs through a stretch forward again, keeping states and decays in the nearest cache, and
// then backward. While it computes, the memory of the next stretch is fetched: what is read and written lies in columns
// of one line in each row, an order that the processor does not foresee.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows of a stretch and states at a time. A row of few states loads and stores as much as one of many, but all that a
// stretch of them needs in the backward pass has to stay in the nearest cache: 32 KiB of 48, and 16 KiB of 32 where
// registers hold eight numbers and there are sixteen of them.
constexpr int64_t kStretch = kFillsRegister ? 16 : 32;
constexpr int64_t kStates = kFillsRegister ? 8 : 4;
using V = NativeF32;
constexpr int64_t kWidth = kNativeLanes;  // channels at a time
constexpr int64_t kWidestBlock = 512;
constexpr int64_t kNarrowestBlock = 64;

// What is staged of the channels of one vector and one row, side by side: one stream of memory for all of it.
// kInput: delta x; kOut: y or its gradient; kSlope: of softplus.
enum Staged { kDelta, kInput, kOut, kGradInput, kGradLog, kX, kSlope };
constexpr int64_t kForwardRow = (kOut + 1) * kWidth;
constexpr int64_t kBackwardRow = (kSlope + 1) * kWidth;

// The memory of the next stretch, line after line of row after row.
class LinesAhead {
 public:
  // Of `rows` rows from `first` on, the columns [column, column + width).
  template <class T>
  void add(const Rows<T>& x, int64_t first, int64_t rows, int64_t column, int64_t width) {
    parts_[count_++] = {reinterpret_cast<const char*>(x.row(first) + column),
                        x.stride * static_cast<int64_t>(sizeof(T)), width * static_cast<int64_t>(sizeof(T)), rows};
  }
  void clear() { *this = {}; }

  VERBATIM_INLINE void fetch() {
    if (part_ == count_) return;
    Part& part = parts_[part_];
    __builtin_prefetch(part.row + at_, 0, 2);
    at_ += kLine;
    if (at_ >= part.bytes) next_row();
  }

 private:
  static constexpr int64_t kLine = 64;
  struct Part {
    const char* row;
    int64_t stride, bytes, rows;
  };
  VERBATIM_INLINE void next_row() {
    at_ = 0;
    Part& part = parts_[part_];
    part.row += part.stride;
    if (--part.rows == 0) ++part_;
  }
  std::array<Part, 5> parts_{};
  int64_t part_ = 0, count_ = 0, at_ = 0;
};

inline void fetch(const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) __builtin_prefetch(from + i);
}

// The channels of one vector in one stretch: T <= kStretch rows, V lanes. S states, a multiple of kStates.
// Passed by value: of a reference the compiler has to read everything again after each number that is stored.
struct Channels {
  int64_t rows;
  int64_t states;
  float* staged;  // [T, kForwardRow or kBackwardRow]
  const float* b_TS;
  const float* c_TS;
};

// The states n to n + count - 1 of all rows: `state` [count, V] goes from before the first row to behind the last one,
// y gets its share added. `rate` [count, V] is -exp(log_decay) log2(e): the decay is 2^(delta rate).
template <int count>
void scan_states(const Channels in, int64_t n, const float* rate, float* state, LinesAhead& ahead) {
  constexpr bool kHoldsRates = count <= 8;
  V s[count], r[count];
#pragma GCC unroll 16
  for (int k = 0; k < count; ++k) {
    s[k] = load<V>(state + k * kWidth);
    if constexpr (kHoldsRates) r[k] = load<V>(rate + k * kWidth);
  }
  for (int64_t t = 0; t < in.rows; ++t) {
    const float* b = in.b_TS + t * in.states + n;
    const float* c = in.c_TS + t * in.states + n;
    float* row = in.staged + t * kForwardRow;
    const V delta = load<V>(row + kDelta * kWidth);
    const V input = load<V>(row + kInput * kWidth);
    V even = load<V>(row + kOut * kWidth), odd{};
    for (int i = 0; i < 3; ++i) ahead.fetch();
#pragma GCC unroll 16
    for (int k = 0; k < count; ++k) {
      if constexpr (!kHoldsRates) r[k] = load<V>(rate + k * kWidth);
      s[k] = decay_of(delta, r[k]) * s[k] + input * b[k];
      (k % 2 == 0 ? even : odd) += s[k] * c[k];
    }
    store(row + kOut * kWidth, even + odd);
  }
#pragma GCC unroll 16
  for (int k = 0; k < count; ++k) store(state + k * kWidth, s[k]);
}

struct ChannelsGradient {
  float* carry;   // [kStates, V] gradient of the state that comes from the row behind the stretch; leaves as that for
                  // the row in front
  float* drate;   // [kStates, V] grows: gradient of the logarithm of the decay times delta
  float* db_TKV;  // grow over the vectors of channels, lane by lane
  float* dc_TKV;
};

// kStates states from n on; adds to the staged gradients of delta x and of the logarithms of the decays (times their
// rates), or sets them if these are the `first` states. `state` [kStates, V] is the one before the stretch; `scratch`
// [T, kStates, 2, V] takes what remains of the state in front of each row, and the decays.
template <bool first>
void scan_states_backward(const Channels in, int64_t n, const float* rate, const float* state,
                          const ChannelsGradient out, float* scratch, LinesAhead& ahead) {
  constexpr int64_t kRow = kStates * kWidth;
  V r[kStates], s[kStates];
#pragma GCC unroll 8
  for (int64_t k = 0; k < kStates; ++k) {
    r[k] = load<V>(rate + k * kWidth);
    s[k] = load<V>(state + k * kWidth);
  }
  for (int64_t t = 0; t < in.rows; ++t) {
    const float* b = in.b_TS + t * in.states + n;
    const float* row = in.staged + t * kBackwardRow;
    const V delta = load<V>(row + kDelta * kWidth);
    const V input = load<V>(row + kInput * kWidth);
    const V dy = load<V>(row + kOut * kWidth);
    float* kept = scratch + t * 2 * kRow;
    float* dc = out.dc_TKV + t * kRow;
    for (int i = 0; i < 2; ++i) ahead.fetch();
#pragma GCC unroll 8
    for (int64_t k = 0; k < kStates; ++k) {
      const V decay = decay_of(delta, r[k]);
      const V remains = decay * s[k];
      store(kept + 2 * k * kWidth, remains);
      store(kept + (2 * k + 1) * kWidth, decay);
      s[k] = remains + input * b[k];
      store(dc + k * kWidth, load<V>(dc + k * kWidth) + dy * s[k]);
    }
  }
  V carry[kStates], drate[kStates];
#pragma GCC unroll 8
  for (int64_t k = 0; k < kStates; ++k) {
    carry[k] = load<V>(out.carry + k * kWidth);
    drate[k] = load<V>(out.drate + k * kWidth);
  }
  for (int64_t t = in.rows - 1; t >= 0; --t) {
    const float* b = in.b_TS + t * in.states + n;
    const float* c = in.c_TS + t * in.states + n;
    float* row = in.staged + t * kBackwardRow;
    const V delta = load<V>(row + kDelta * kWidth);
    const V input = load<V>(row + kInput * kWidth);
    const V dy = load<V>(row + kOut * kWidth);
    V dinput{}, dlog{};
    if constexpr (!first) dinput = load<V>(row + kGradInput * kWidth), dlog = load<V>(row + kGradLog * kWidth);
    const float* kept = scratch + t * 2 * kRow;
    float* db = out.db_TKV + t * kRow;
    ahead.fetch();
#pragma GCC unroll 8
    for (int64_t k = 0; k < kStates; ++k) {
      const V dstate = carry[k] + dy * c[k];
      store(db + k * kWidth, load<V>(db + k * kWidth) + dstate * input);
      dinput += dstate * b[k];
      const V dexponent = dstate * load<V>(kept + 2 * k * kWidth);
      carry[k] = dstate * load<V>(kept + (2 * k + 1) * kWidth);
      dlog += dexponent * r[k];
      drate[k] += dexponent * delta;
    }
    store(row + kGradInput * kWidth, dinput);
    store(row + kGradLog * kWidth, dlog);
  }
#pragma GCC unroll 8
  for (int64_t k = 0; k < kStates; ++k) {
    store(out.carry + k * kWidth, carry[k]);
    store(out.drate + k * kWidth, drate[k]);
  }
}

// At most kStretch rows of one sequence.
struct Stretch {
  int64_t sequence;
  int64_t first;
  int64_t rows;
};

// What both directions share. Channels are padded to whole vectors, `vectors` of them, and states to a multiple of
// kStates; padding has x = 0 and b = c = 0.
struct Frame {
  const Sequences& sequences;
  SequenceTasks tasks;
  int64_t channels;
  int64_t vectors;
  int64_t states;                   // S, padded
  std::vector<int64_t> first_kept;  // of each sequence, in the kept states: every stretch but its first has one
  at::Tensor rate, skip, b, c;      // [vectors, S, V], [vectors, 1, V], [N, S]

  Frame(const Sequences& sequences, const at::Tensor& log_decay_IS, const at::Tensor& b_NS, const at::Tensor& c_NS,
        const at::Tensor& skip_I)
      : sequences(sequences),
        tasks(sequences, log_decay_IS.size(0), kWidestBlock, kNarrowestBlock),
        channels(log_decay_IS.size(0)),
        vectors((channels + kWidth - 1) / kWidth),
        states((log_decay_IS.size(1) + kStates - 1) / kStates * kStates),
        first_kept{0},
        b(pad_states(b_NS.to(at::kFloat))),
        c(pad_states(c_NS.to(at::kFloat))) {
    for (int64_t s = 0; s < sequences.count(); ++s) {
      const int64_t stretches = (sequences.length(s) + kStretch - 1) / kStretch;
      first_kept.push_back(first_kept.back() + std::max<int64_t>(0, stretches - 1));
    }
    rate = in_lanes(pad_states(at::exp(log_decay_IS) * -kLog2E));
    skip = in_lanes(skip_I.unsqueeze(1));
  }

  [[nodiscard]] at::Tensor pad_states(const at::Tensor& x) const {
    return x.size(1) == states ? x.contiguous() : at::constant_pad_nd(x, {0, states - x.size(1)});
  }
  // [I, S] as [vectors, S, V].
  [[nodiscard]] at::Tensor in_lanes(const at::Tensor& x_IS) const {
    const at::Tensor padded = at::constant_pad_nd(x_IS, {0, 0, 0, vectors * kWidth - channels});
    return padded.view({vectors, kWidth, -1}).transpose(1, 2).contiguous();
  }
  // Its inverse.
  [[nodiscard]] at::Tensor from_lanes(const at::Tensor& x) const {
    return x.transpose(1, 2).reshape({vectors * kWidth, -1}).narrow(0, 0, channels);
  }

  // Where the state in front of a stretch is kept, from vector `vector` on.
  [[nodiscard]] int64_t kept_offset(const Stretch& stretch, int64_t vector) const {
    const int64_t s = stretch.sequence;
    const int64_t index = first_kept[s] + (stretch.first - sequences.offsets[s]) / kStretch - 1;
    return (index * vectors + vector) * states * kWidth;
  }
  [[nodiscard]] at::Tensor kept_states() const {
    return at::empty({first_kept.back(), vectors, states, kWidth}, rate.options());
  }
  [[nodiscard]] int threads() const {
    return sequences.rows() * channels * states < kValuesPerThread ? 1 : at::get_num_threads();
  }
};

// What a task works on: some sequences in stretches, a block of channels.
struct Task {
  int64_t group, block;
  int64_t column, width;
  int64_t first_vector, vectors;
  std::vector<Stretch> stretches;

  Task(const Frame& frame, int64_t index)
      : group(frame.tasks.group(index)),
        block(frame.tasks.block(index)),
        column(frame.tasks.begin(block)),
        width(frame.tasks.end(block) - column),
        first_vector(column / kWidth),
        vectors((width + kWidth - 1) / kWidth) {
    for (int64_t s = frame.tasks.first_sequence[group]; s < frame.tasks.first_sequence[group + 1]; ++s) {
      const int64_t stop = frame.sequences.offsets[s + 1];
      for (int64_t first = frame.sequences.offsets[s]; first < stop; first += kStretch) {
        stretches.push_back({s, first, std::min(kStretch, stop - first)});
      }
    }
  }

  // Gives `ahead` what the stretch behind number i in the order of work has of these matrices.
  template <class... Matrix>
  void look_ahead(size_t i, LinesAhead& ahead, const Matrix&... matrices) const {
    ahead.clear();
    if (i + 1 == stretches.size()) return;
    const Stretch& next = stretches[i + 1];
    (ahead.add(matrices, next.first, next.rows, column, width), ...);
  }

  // Calls f(lanes) with those of vector v: all, or a number at the end of a row.
  template <class F>
  void with_lanes(int64_t v, const F& f) const {
    const int64_t count = width - v * kWidth;
    if (count >= kWidth) {
      f(LaneCount<kWidth>{});
    } else {
      f(count);
    }
  }
};

// Floats from the staged rows of one vector of channels to those of the next; not a power of two, which would put the
// same row of all of them into the same few lines of the cache.
constexpr int64_t staged_vector(int64_t row) { return kStretch * row + kWidth; }

// kept: null where no gradient is asked for.
template <class X, class D>
void forward_task(const Frame& frame, const Rows<const X>& x, const Rows<const D>& step, int64_t index, float* kept,
                  const Rows<X>& y) {
  const Task task(frame, index);
  const int64_t state_size = frame.states * kWidth;
  thread_local ScratchBuffer state_memory, staged_memory;
  float* states = state_memory.get<float>(task.vectors * state_size);
  float* staged = staged_memory.get<float>(kStretch * kForwardRow);
  LinesAhead ahead;

  const auto stage = [&](const Stretch& stretch, int64_t v, auto lanes) {
    const int64_t column = task.column + v * kWidth;
    const V skip = load<V>(frame.skip.data_ptr<float>() + column);
    for (int64_t t = 0; t < stretch.rows; ++t) {
      const V value = load<V>(x.row(stretch.first + t) + column, lanes);
      const V delta = softplus(load<V>(step.row(stretch.first + t) + column, lanes)).value;
      float* row = staged + t * kForwardRow;
      store(row + kDelta * kWidth, delta);
      store(row + kInput * kWidth, delta * value);
      store(row + kOut * kWidth, skip * value);
    }
  };
  const auto compute = [&](const Stretch& stretch, int64_t v) {
    const float* rate = frame.rate.data_ptr<float>() + (task.first_vector + v) * state_size;
    float* state = states + v * state_size;
    if (stretch.first == frame.sequences.offsets[stretch.sequence]) {
      std::fill_n(state, state_size, 0.0F);
    } else if (kept != nullptr) {
      float* to = kept + frame.kept_offset(stretch, task.first_vector + v);
      std::copy_n(state, state_size, to);
      if (v + 1 < task.vectors) fetch(to + state_size, state_size);
    }
    const Channels in{stretch.rows, frame.states, staged, frame.b.data_ptr<float>() + stretch.first * frame.states,
                      frame.c.data_ptr<float>() + stretch.first * frame.states};
    int64_t n = 0;
    const auto scan = [&](auto count) {
      scan_states<count>(in, n, rate + n * kWidth, state + n * kWidth, ahead);
      n += count;
    };
    while (n + 2 * kStates <= frame.states) scan(std::integral_constant<int, 2 * kStates>{});
    if (n < frame.states) scan(std::integral_constant<int, kStates>{});
  };
  const auto write = [&](const Stretch& stretch, int64_t v, auto lanes) {
    for (int64_t t = 0; t < stretch.rows; ++t) {
      store(y.row(stretch.first + t) + task.column + v * kWidth, load<V>(staged + t * kForwardRow + kOut * kWidth),
            lanes);
    }
  };
  for (size_t i = 0; i < task.stretches.size(); ++i) {
    task.look_ahead(i, ahead, x, step, y);
    for (int64_t v = 0; v < task.vectors; ++v) {
      task.with_lanes(v, [&](auto lanes) { stage(task.stretches[i], v, lanes); });
      compute(task.stretches[i], v);
      task.with_lanes(v, [&](auto lanes) { write(task.stretches[i], v, lanes); });
    }
  }
}

// The partial sums: drate and dskip over the sequences of a group, db and dc over the channels of a block.
struct Gradients {
  at::Tensor x_NI, step_NI;
  at::Tensor rate, skip;  // [groups, vectors, S, V], [groups, vectors, 1, V]
  at::Tensor b, c;        // [blocks, N, S]
};

// Sums over lanes of [T, kStates, V], T rounded up to a multiple of kRowsPerSum, to the columns n to n + kStates - 1.
constexpr int64_t kRowsPerSum = kLanes / kStates;
void sum_lanes(const float* sums, int64_t rows, float* to, int64_t n, int64_t states) {
  for (int64_t t = 0; t < rows; t += kRowsPerSum) {
    float values[kLanes];
    store(values, sums_of_lanes<V>(sums + t * kStates * kWidth));
    for (int64_t u = t; u < std::min(rows, t + kRowsPerSum); ++u) {
      std::copy_n(values + (u - t) * kStates, kStates, to + u * states + n);
    }
  }
}

template <class X, class D>
void backward_task(const Frame& frame, const Rows<const X>& x, const Rows<const D>& step, const Rows<const X>& dy,
                   int64_t index, const float* kept, Gradients& gradients) {
  Task task(frame, index);
  std::reverse(task.stretches.begin(), task.stretches.end());
  constexpr int64_t kVector = staged_vector(kBackwardRow);
  constexpr int64_t kSums = kStretch * kStates * kWidth;
  static constexpr float kZero[kStates * kWidth] = {};
  const int64_t state_size = frame.states * kWidth;
  thread_local ScratchBuffer staged_memory, carry_memory, near_memory;
  float* staged = staged_memory.get<float>(task.vectors * kVector);
  float* carry = carry_memory.get<float>(task.vectors * state_size);
  float* near = near_memory.get<float>(4 * kSums);
  float *db_sums = near + 2 * kSums, *dc_sums = near + 3 * kSums;
  const float* rate = frame.rate.data_ptr<float>() + task.first_vector * state_size;
  const float* skip = frame.skip.data_ptr<float>() + task.column;
  float* drate = gradients.rate.data_ptr<float>() + (task.group * frame.vectors + task.first_vector) * state_size;
  float* dskip = gradients.skip.data_ptr<float>() + task.group * frame.vectors * kWidth + task.column;
  const int64_t sums_begin = task.block * frame.sequences.rows() * frame.states;
  float* db = gradients.b.data_ptr<float>() + sums_begin;
  float* dc = gradients.c.data_ptr<float>() + sums_begin;
  const Rows<X> dx(gradients.x_NI);
  const Rows<D> dstep(gradients.step_NI);
  LinesAhead ahead;

  const auto stage = [&](const Stretch& stretch, int64_t v, auto lanes) {
    const int64_t column = task.column + v * kWidth;
    V skip_gradient = load<V>(dskip + v * kWidth);
    for (int64_t t = 0; t < stretch.rows; ++t) {
      const int64_t n = stretch.first + t;
      const V value = load<V>(x.row(n) + column, lanes);
      const V out = load<V>(dy.row(n) + column, lanes);
      const auto delta = softplus(load<V>(step.row(n) + column, lanes));
      float* row = staged + v * kVector + t * kBackwardRow;
      store(row + kDelta * kWidth, delta.value);
      store(row + kInput * kWidth, delta.value * value);
      store(row + kOut * kWidth, out);
      store(row + kX * kWidth, value);
      store(row + kSlope * kWidth, delta.slope);
      skip_gradient += out * value;
    }
    store(dskip + v * kWidth, skip_gradient);
  };
  const auto compute = [&](const Stretch& stretch, int64_t n, int64_t v) {
    const int64_t at = v * state_size + n * kWidth;
    const int64_t start = frame.sequences.offsets[stretch.sequence],
                  stop = frame.sequences.offsets[stretch.sequence + 1];
    if (stretch.first + stretch.rows == stop) std::fill_n(carry + at, kStates * kWidth, 0.0F);
    const float* state =
        stretch.first == start ? kZero : kept + frame.kept_offset(stretch, task.first_vector + v) + n * kWidth;
    if (state != kZero && v + 1 < task.vectors) fetch(state + state_size, kStates * kWidth);
    const Channels in{stretch.rows, frame.states, staged + v * kVector,
                      frame.b.data_ptr<float>() + stretch.first * frame.states,
                      frame.c.data_ptr<float>() + stretch.first * frame.states};
    const ChannelsGradient out{carry + at, drate + at, db_sums, dc_sums};
    if (n == 0) {
      scan_states_backward<true>(in, n, rate + at, state, out, near, ahead);
    } else {
      scan_states_backward<false>(in, n, rate + at, state, out, near, ahead);
    }
  };
  const auto write = [&](const Stretch& stretch, int64_t v, auto lanes) {
    const int64_t column = task.column + v * kWidth;
    for (int64_t t = 0; t < stretch.rows; ++t) {
      const int64_t n = stretch.first + t;
      const float* row = staged + v * kVector + t * kBackwardRow;
      const V dinput = load<V>(row + kGradInput * kWidth);
      const V direct = load<V>(skip + v * kWidth) * load<V>(row + kOut * kWidth);
      store(dx.row(n) + column, dinput * load<V>(row + kDelta * kWidth) + direct, lanes);
      const V ddelta = dinput * load<V>(row + kX * kWidth) + load<V>(row + kGradLog * kWidth) * kLn2;
      store(dstep.row(n) + column, ddelta * load<V>(row + kSlope * kWidth), lanes);
    }
  };
  for (size_t i = 0; i < task.stretches.size(); ++i) {
    const Stretch& stretch = task.stretches[i];
    task.look_ahead(i, ahead, x, step, dy, dx, dstep);
    for (int64_t n = 0; n < frame.states; n += kStates) {
      std::fill_n(db_sums, 2 * kSums, 0.0F);
      for (int64_t v = 0; v < task.vectors; ++v) {
        if (n == 0) task.with_lanes(v, [&](auto lanes) { stage(stretch, v, lanes); });
        compute(stretch, n, v);
        if (n + kStates == frame.states) task.with_lanes(v, [&](auto lanes) { write(stretch, v, lanes); });
      }
      sum_lanes(db_sums, stretch.rows, db + stretch.first * frame.states, n, frame.states);
      sum_lanes(dc_sums, stretch.rows, dc + stretch.first * frame.states, n, frame.states);
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
        const Rows<X> y_rows(y_NI);
        for_each_task(frame.tasks.count(), frame.threads(),
                      [&](int64_t task) { forward_task<X, D>(frame, x_rows, step_rows, task, kept_data, y_rows); });
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
                    at::zeros({groups, frame.vectors, frame.states, kWidth}, options),
                    at::zeros({groups, frame.vectors, 1, kWidth}, options),
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
    const at::Tensor dlog_decay_IS =
        frame.from_lanes(sum_in_order(parts.rate) * frame.rate * kLn2).narrow(1, 0, b_NS.size(1));
    const at::Tensor dskip_I = frame.from_lanes(sum_in_order(parts.skip)).squeeze(1);
    return {parts.x_NI,
            parts.step_NI,
            dlog_decay_IS,
            sum_in_order(parts.b).narrow(1, 0, b_NS.size(1)).to(b_NS.scalar_type()),
            sum_in_order(parts.c).narrow(1, 0, c_NS.size(1)).to(c_NS.scalar_type()),
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
