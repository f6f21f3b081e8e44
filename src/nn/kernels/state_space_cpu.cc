#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/chunk_products.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/decay.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of state_space: a sequence in chunks of kChunk rows, and matrix products within and between them
// (arXiv 2405.21060, section 6). With u = delta x, L[t, s] the decay from row s to row t >= s, e[t] that from the start
// of the chunk to t, w[s] that from s to its end, and the transposed state Z [S, P] in front of the chunk:
//   y = (L o c b^T) u + e o (c Z) + skip x        Z' = e[last] Z + b^T (w o u)
// The backward pass keeps Z for every chunk and forms the rest again.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kChunk = 64;
constexpr int64_t kMostHeads = 8;  // of a task

int64_t rounded_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// At most kChunk rows of one sequence.
struct Chunk {
  int64_t first;
  int64_t rows;
  bool is_first, is_last;  // of its sequence
  int64_t kept;            // where the states in front of it are kept, unless it is the first
};

// What both directions share.
template <class Products>
struct Frame {
  StateSpaceShape shape;
  SequenceTasks tasks;
  std::vector<Chunk> chunks;
  std::vector<int64_t> first_chunk;  // of each sequence
  int64_t kept_chunks = 0;
  int64_t head_width, state;  // padded: P and S below
  std::vector<float> rate_H;  // -exp(log_decay) log2(e): the decay of a row is 2^(delta rate)
  at::Tensor step, b, c, skip;

  Frame(const Sequences& sequences, const StateSpaceShape& shape, const at::Tensor& step_NH,
        const at::Tensor& log_decay_H, const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H)
      : shape(shape),
        tasks(sequences, shape.heads, kMostHeads, 1),
        head_width(rounded_up(shape.head_width, Products::kStep)),
        state(rounded_up(shape.state, Products::kStep)),
        step(step_NH.to(at::kFloat).contiguous()),
        b(with_dense_rows(b_NE.to(at::kFloat))),
        c(with_dense_rows(c_NE.to(at::kFloat))),
        skip(skip_H.contiguous()) {
    for (int64_t s = 0; s < sequences.count(); ++s) {
      first_chunk.push_back(static_cast<int64_t>(chunks.size()));
      const int64_t start = sequences.offsets[s], stop = sequences.offsets[s + 1];
      for (int64_t first = start; first < stop; first += kChunk) {
        chunks.push_back({.first = first,
                          .rows = std::min(kChunk, stop - first),
                          .is_first = first == start,
                          .is_last = first + kChunk >= stop,
                          .kept = first == start ? -1 : kept_chunks++});
      }
    }
    first_chunk.push_back(static_cast<int64_t>(chunks.size()));
    const at::Tensor log_decay = log_decay_H.contiguous();
    for (int64_t h = 0; h < shape.heads; ++h) rate_H.push_back(-std::exp(log_decay.data_ptr<float>()[h]) * kLog2E);
  }

  [[nodiscard]] int64_t state_size() const { return state * head_width; }
  [[nodiscard]] int64_t group(int64_t head) const { return head / (shape.heads / shape.groups); }
  [[nodiscard]] int64_t kept_offset(const Chunk& chunk, int64_t head) const {
    return (chunk.kept * shape.heads + head) * state_size();
  }
  [[nodiscard]] int threads() const {
    const int64_t rows = step.size(0);
    return rows * shape.heads * shape.head_width * shape.state < kValuesPerThread ? 1 : at::get_num_threads();
  }
};

// The matrices of one chunk, in the cache of one thread. Rows, P and S are padded with zeros to multiples of
// Products::kStep; `padded` rows of kChunk are in use.
template <class Products>
class ChunkMatrices {
 public:
  using Element = typename Products::Element;
  using Left = typename Products::Left;
  using Right = typename Products::Right;
  // Rows of lower triangles at a time: what is above the diagonal of such a block is computed with zeros.
  static constexpr int64_t kTriangle = 32;

  explicit ChunkMatrices(const Frame<Products>& frame) : frame_(frame), width_(frame.head_width), state_(frame.state) {
    thread_local ScratchBuffer memory;
    constexpr int64_t kSquare = kChunk * kChunk;
    const int64_t wide = kChunk * std::max(state_, width_), states = frame.state_size();
    // In turn: nothing at first, then with memory behind it.
    int64_t used = 0;
    const auto lay_out = [&](float* begin) {
      used = 0;
      const auto take = [&](auto*& p, int64_t count) {
        const auto size = static_cast<int64_t>(sizeof(*p) * count);
        p = begin == nullptr ? nullptr : reinterpret_cast<std::remove_reference_t<decltype(p)>>(begin + used);
        used += rounded_up(size, 64) / static_cast<int64_t>(sizeof(float));
      };
      for (float** vector : {&delta, &slope, &high_, &low_, &from_start, &to_end}) take(*vector, kChunk);
      for (float** square : {&product, &decay, &weight, &dweight, &dproduct}) take(*square, kSquare);
      for (float** matrix : {&b, &c, &u, &u_to_end, &y, &dy_from_start, &du, &db, &dc, &other}) take(*matrix, wide);
      for (Element** room : {&b_room_, &c_room_, &b_transposed_room_, &c_transposed_room_}) take(*room, wide);
      take(left_room_, std::max(kSquare, wide));
      take(right_room_, std::max(states, wide));
    };
    lay_out(nullptr);
    lay_out(memory.get<float>(used));
  }

  // ---- of all heads of a group ----
  float *b, *c;                     // [Q, S]
  float* product;                   // [Q, kChunk] c b^T, at and below the diagonal
  Left b_left, c_left;              // [Q, S]
  Left b_transposed, c_transposed;  // [S, Q]

  // ---- of one head ----
  float *delta, *slope;        // [Q] softplus(step) and its derivative
  float *from_start, *to_end;  // [Q] e and w
  float *decay, *weight;       // [Q, kChunk] L and L o product, at and below the diagonal
  float *u, *u_to_end;         // [Q, P] delta x and w o delta x
  float* y;                    // [Q, P]
  // Gradients, beside those of what is above.
  float *dweight, *dproduct;  // [Q, kChunk]
  float *dy_from_start, *du;  // [Q, P]
  float *db, *dc;             // [Q, S]
  float* other;               // [Q, P] or [Q, S]
  int64_t padded = 0;

  [[nodiscard]] int64_t width() const { return width_; }
  [[nodiscard]] int64_t state() const { return state_; }

  void load_group(const Chunk& chunk, int64_t group) {
    padded = rounded_up(chunk.rows, Products::kStep);
    const int64_t columns = frame_.shape.state;
    load_rows(Rows<const float>(frame_.b), chunk, group * columns, 1, columns, state_, b);
    load_rows(Rows<const float>(frame_.c), chunk, group * columns, 1, columns, state_, c);
    b_left = Products::left(b, state_, padded, state_, b_room_);
    c_left = Products::left(c, state_, padded, state_, c_room_);
    b_transposed = Products::left_transposed(b, state_, state_, padded, b_transposed_room_);
    const Right right = Products::right_transposed(b, state_, state_, padded, right_room_);
    for_triangle([&](int64_t m, int64_t rows) {
      Products::template multiply<false>(c_left.at(m, 0), right, rows, m + rows, state_, product + m * kChunk, kChunk);
    });
  }

  // x [Q, P]
  void load_head(const Chunk& chunk, int64_t head, const float* x) {
    const float rate = frame_.rate_H[head];
    float steps[kChunk] = {};
    for (int64_t t = 0; t < chunk.rows; ++t) {
      steps[t] = frame_.step.template data_ptr<float>()[(chunk.first + t) * frame_.shape.heads + head];
    }
    for (int64_t t = 0; t < kChunk; t += kLanes) {
      const auto parts = softplus(load(steps + t));
      store(delta + t, parts.value);
      store(slope + t, parts.slope);
    }
    // Differences of sums of many rows keep the precision of the small ones only in two parts.
    double sum = 0;
    for (int64_t t = 0; t < kChunk; ++t) {
      if (t < chunk.rows) sum += static_cast<double>(delta[t] * rate);
      high_[t] = static_cast<float>(sum);
      low_[t] = static_cast<float>(sum - static_cast<double>(high_[t]));
    }
    const float high = high_[chunk.rows - 1], low = low_[chunk.rows - 1];
    for (int64_t t = 0; t < kChunk; t += kLanes) {
      store(from_start + t, exp2(load(high_ + t) + load(low_ + t)));
      store(to_end + t, exp2((high - load(high_ + t)) + (low - load(low_ + t))));
    }
    const I32x16 lane = lane_numbers();
    for_lower_vectors([&](int64_t t, int64_t s) {
      const F32x16 all = exp2((high_[t] - load(high_ + s)) + (low_[t] - load(low_ + s)));
      const F32x16 lower = select(lane > static_cast<int32_t>(t - s), F32x16{}, all);
      store(decay + t * kChunk + s, lower);
      store(weight + t * kChunk + s, s > t ? F32x16{} : lower * load(product + t * kChunk + s));
    });
    scale_rows(x, delta, width_, u);
  }

  // Columns of `from` in float32: `parts` matrices [kChunk, padded columns] of `columns` columns each.
  template <class X>
  static void load_rows(const Rows<const X>& from, const Chunk& chunk, int64_t column, int64_t parts, int64_t columns,
                        int64_t padded_columns, float* to) {
    for (int64_t t = 0; t < chunk.rows; ++t) {
      for (int64_t part = 0; part < parts; ++part) {
        const X* from_part = from.row(chunk.first + t) + column + part * columns;
        float* row = to + (part * kChunk + t) * padded_columns;
        std::fill(row + columns / kLanes * kLanes, row + padded_columns, 0.0F);
        by_vectors(columns, [&](int64_t i, auto lanes) { store(row + i, load(from_part + i, lanes)); });
      }
    }
    for (int64_t part = 0; part < parts; ++part) {
      std::fill(to + (part * kChunk + chunk.rows) * padded_columns, to + (part + 1) * kChunk * padded_columns, 0.0F);
    }
  }
  // The way back.
  template <class X>
  static void store_rows(const float* from, const Chunk& chunk, int64_t column, int64_t parts, int64_t columns,
                         int64_t padded_columns, const Rows<X>& to) {
    for (int64_t t = 0; t < chunk.rows; ++t) {
      for (int64_t part = 0; part < parts; ++part) {
        const float* row = from + (part * kChunk + t) * padded_columns;
        X* to_part = to.row(chunk.first + t) + column + part * columns;
        by_vectors(columns, [&](int64_t i, auto lanes) { store(to_part + i, load(row + i), lanes); });
      }
    }
  }

  // to[t] = factor[t] from[t]
  void scale_rows(const float* from, const float* factor, int64_t columns, float* to) const {
    for (int64_t t = 0; t < padded; ++t) {
      for (int64_t i = 0; i < columns; i += kLanes) {
        store(to + t * columns + i, load(from + t * columns + i) * factor[t]);
      }
    }
  }

  // Calls f(m, rows) for blocks of rows; such a block of a lower triangle has m + rows columns.
  template <class F>
  void for_triangle(const F& f) const {
    for (int64_t m = 0; m < padded; m += kTriangle) f(m, std::min(kTriangle, padded - m));
  }
  // Calls f(t, s) for all vectors s to s + 15 of rows t of a lower triangle, with what for_triangle adds to it.
  template <class F>
  void for_lower_vectors(const F& f) const {
    for_triangle([&](int64_t m, int64_t rows) {
      for (int64_t t = m; t < m + rows; ++t) {
        for (int64_t s = 0; s < m + rows; s += kLanes) f(t, s);
      }
    });
  }

  [[nodiscard]] Left left(const float* a, int64_t stride, int64_t depth) const {
    return Products::left(a, stride, padded, depth, left_room_);
  }
  [[nodiscard]] Left left_transposed(const float* a, int64_t stride) const {
    return Products::left_transposed(a, stride, padded, padded, left_room_);
  }
  [[nodiscard]] Right right(const float* a, int64_t depth, int64_t columns) const {
    return Products::right(a, columns, depth, columns, right_room_);
  }
  // From [columns, depth].
  [[nodiscard]] Right right_transposed(const float* a, int64_t depth, int64_t columns) const {
    return Products::right_transposed(a, depth, depth, columns, right_room_);
  }
  void load_transposed_c() { c_transposed = Products::left_transposed(c, state_, state_, padded, c_transposed_room_); }

 private:
  const Frame<Products>& frame_;
  int64_t width_, state_;
  float *high_, *low_;  // [Q] their sum is that of delta rate up to and with the row
  Element *b_room_, *c_room_, *b_transposed_room_, *c_transposed_room_, *left_room_, *right_room_;
};

void scale_all(float* x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(x + i, load(x + i) * factor);
}

float dot(const float* a, const float* b, int64_t count) {
  F32x16 sum{};
  for (int64_t i = 0; i < count; i += kLanes) sum += load(a + i) * load(b + i);
  return sum_of_lanes(sum);
}

// The rows of the heads of a task: a matrix [kChunk, P] each.
struct Heads {
  int64_t first, last;
  int64_t column, count;

  template <class Products>
  Heads(const Frame<Products>& frame, int64_t block)
      : first(frame.tasks.begin(block)),
        last(frame.tasks.end(block)),
        column(first * frame.shape.head_width),
        count(last - first) {}
};

// kept: null where no gradient is asked for.
template <class Products, class X>
void forward_task(const Frame<Products>& frame, const Rows<const X>& x, int64_t task, typename Products::Element* kept,
                  const Rows<X>& y) {
  [[maybe_unused]] const typename Products::Session session;
  using Matrices = ChunkMatrices<Products>;
  Matrices m(frame);
  const int64_t group = frame.tasks.group(task);
  const Heads heads(frame, frame.tasks.block(task));
  const int64_t width = m.width(), state_size = frame.state_size(), head_width = frame.shape.head_width;
  thread_local ScratchBuffer state_memory, rows_memory;
  float* states = state_memory.get<float>(heads.count * state_size);
  float* rows_of_heads = rows_memory.get<float>(heads.count * kChunk * width);

  const int64_t end = frame.first_chunk[frame.tasks.first_sequence[group + 1]];
  for (int64_t index = frame.first_chunk[frame.tasks.first_sequence[group]]; index < end; ++index) {
    const Chunk& chunk = frame.chunks[index];
    Matrices::load_rows(x, chunk, heads.column, heads.count, head_width, width, rows_of_heads);
    for (int64_t h = heads.first; h < heads.last; ++h) {
      if (h == heads.first || frame.group(h) != frame.group(h - 1)) m.load_group(chunk, frame.group(h));
      float* rows = rows_of_heads + (h - heads.first) * kChunk * width;
      m.load_head(chunk, h, rows);
      float* state = states + (h - heads.first) * state_size;
      if (chunk.is_first) {
        std::fill_n(m.y, m.padded * width, 0.0F);
      } else {
        if (kept != nullptr) Products::keep(state, state_size, kept + frame.kept_offset(chunk, h));
        Products::template multiply<false>(m.c_left, m.right(state, m.state(), width), m.padded, width, m.state(), m.y,
                                           width);
        m.scale_rows(m.y, m.from_start, width, m.y);
      }
      const auto weight = m.left(m.weight, kChunk, m.padded);
      const auto u = m.right(m.u, m.padded, width);
      m.for_triangle([&](int64_t row, int64_t count) {
        Products::template multiply<true>(weight.at(row, 0), u, count, width, row + count, m.y + row * width, width);
      });
      const float skip = frame.skip.template data_ptr<float>()[h];
      for (int64_t i = 0; i < chunk.rows * width; i += kLanes) {
        store(rows + i, load(m.y + i) + skip * load(rows + i));
      }
      if (chunk.is_last) continue;
      if (chunk.is_first) {
        std::fill_n(state, state_size, 0.0F);
      } else {
        scale_all(state, m.from_start[chunk.rows - 1], state_size);
      }
      m.scale_rows(m.u, m.to_end, width, m.u_to_end);
      Products::template multiply<true>(m.b_transposed, m.right(m.u_to_end, m.padded, width), m.state(), width,
                                        m.padded, state, width);
    }
    Matrices::store_rows(rows_of_heads, chunk, heads.column, heads.count, head_width, width, y);
  }
}

// log_decay and skip in partial sums over the sequences of a group of tasks, b and c over the heads of a block.
struct Gradients {
  at::Tensor x_NI, step_NH;
  at::Tensor log_decay, skip;  // [groups, H]
  at::Tensor b, c;             // [blocks, N, E]
};

template <class Products, class X>
class BackwardTask {
 public:
  using Element = typename Products::Element;

  BackwardTask(const Frame<Products>& frame, const Rows<const X>& x, const Rows<const X>& dy, const Element* kept,
               Gradients& gradients, int64_t task)
      : frame_(frame),
        x_(x),
        dy_(dy),
        kept_(kept),
        gradients_(gradients),
        m_(frame),
        group_(frame.tasks.group(task)),
        block_(frame.tasks.block(task)),
        heads_(frame, block_),
        width_(frame.head_width),
        state_(frame.state) {}

  void run() {
    [[maybe_unused]] const typename Products::Session session;
    const int64_t state_size = frame_.state_size(), matrix = kChunk * width_, head_width = frame_.shape.head_width;
    thread_local ScratchBuffer states_memory, rows_memory;
    float* dstates = states_memory.get<float>((heads_.count + 1) * state_size);
    state_before_ = dstates + heads_.count * state_size;
    float* x = rows_memory.get<float>(2 * heads_.count * matrix);
    float* dy = x + heads_.count * matrix;
    const Rows<X> dx(gradients_.x_NI);
    const int64_t begin = frame_.first_chunk[frame_.tasks.first_sequence[group_]];
    for (int64_t index = frame_.first_chunk[frame_.tasks.first_sequence[group_ + 1]] - 1; index >= begin; --index) {
      const Chunk& chunk = frame_.chunks[index];
      Matrices::load_rows(x_, chunk, heads_.column, heads_.count, head_width, width_, x);
      Matrices::load_rows(dy_, chunk, heads_.column, heads_.count, head_width, width_, dy);
      for (int64_t h = heads_.first; h < heads_.last; ++h) {
        const int64_t i = h - heads_.first;
        if (i == 0 || frame_.group(h) != frame_.group(h - 1)) begin_group(chunk, frame_.group(h));
        run_head(chunk, h, x + i * matrix, dy + i * matrix, dstates + i * state_size);
        if (h + 1 == heads_.last || frame_.group(h) != frame_.group(h + 1)) end_group(chunk, frame_.group(h));
      }
      Matrices::store_rows(x, chunk, heads_.column, heads_.count, head_width, width_, dx);
    }
  }

 private:
  using Matrices = ChunkMatrices<Products>;

  void begin_group(const Chunk& chunk, int64_t group) {
    m_.load_group(chunk, group);
    m_.load_transposed_c();
    std::fill_n(m_.dproduct, kChunk * kChunk, 0.0F);
    std::fill_n(m_.db, m_.padded * state_, 0.0F);
    std::fill_n(m_.dc, m_.padded * state_, 0.0F);
  }

  void end_group(const Chunk& chunk, int64_t group) {
    const auto dproduct = m_.left(m_.dproduct, kChunk, m_.padded);
    const auto b = m_.right(m_.b, m_.padded, state_);
    m_.for_triangle([&](int64_t row, int64_t rows) {
      Products::template multiply<true>(dproduct.at(row, 0), b, rows, state_, row + rows, m_.dc + row * state_, state_);
    });
    const auto transposed = m_.left_transposed(m_.dproduct, kChunk);
    const auto c = m_.right(m_.c, m_.padded, state_);
    m_.for_triangle([&](int64_t row, int64_t rows) {
      Products::template multiply<true>(transposed.at(row, row), c.at(row), rows, state_, m_.padded - row,
                                        m_.db + row * state_, state_);
    });
    const int64_t columns = frame_.shape.state, stride = gradients_.b.size(2);
    const int64_t to = (block_ * gradients_.b.size(1) + chunk.first) * stride + group * columns;
    for (int64_t t = 0; t < chunk.rows; ++t) {
      std::copy_n(m_.db + t * state_, columns, gradients_.b.data_ptr<float>() + to + t * stride);
      std::copy_n(m_.dc + t * state_, columns, gradients_.c.data_ptr<float>() + to + t * stride);
    }
  }

  // x [Q, P] becomes its gradient; dstate [S, P], the gradient of the state behind the chunk, becomes that of the state
  // in front of it. Neither state exists at the ends of a sequence.
  void run_head(const Chunk& chunk, int64_t h, float* x, const float* dy, float* dstate) {
    const float* state = nullptr;
    if (!chunk.is_first) {
      Products::restore(kept_ + frame_.kept_offset(chunk, h), frame_.state_size(), state_before_);
      state = state_before_;
    }
    m_.load_head(chunk, h, x);
    // Of the logarithm of the decay from the start of the chunk to each row.
    double dsum[kChunk] = {};
    inside(dy, dsum);
    if (!chunk.is_last) into_next(chunk, dstate, state, dsum);
    if (state != nullptr) from_previous(chunk, dy, dstate, state, dsum);
    into_inputs(chunk, h, x, dy, dsum);
  }

  // y = weight u.
  void inside(const float* dy, double* dsum) {
    const auto left = m_.left(dy, width_, width_);
    const auto u = m_.right_transposed(m_.u, width_, m_.padded);
    m_.for_triangle([&](int64_t row, int64_t rows) {
      Products::template multiply<false>(left.at(row, 0), u, rows, row + rows, width_, m_.dweight + row * kChunk,
                                         kChunk);
    });
    // What cancels here, rows against columns, must do so to the last bit: sums in double.
    double columns[kChunk] = {};
    m_.for_triangle([&](int64_t row, int64_t rows) {
      for (int64_t t = row; t < row + rows; ++t) {
        F64x16 sum{};
        for (int64_t s = 0; s <= t; s += kLanes) {
          const int64_t at = t * kChunk + s;
          const F32x16 dproduct = load(m_.dweight + at) * load(m_.decay + at);
          store(m_.dproduct + at, load(m_.dproduct + at) + dproduct);
          const auto dlog = convert<F64x16>(dproduct * load(m_.product + at));
          sum += dlog;
          store_all(columns + s, load_as<F64x16>(columns + s) + dlog);
        }
        double lanes[kLanes];
        store_all(lanes, sum);
        for (const double lane : lanes) dsum[t] += lane;
      }
    });
    for (int64_t s = 0; s < m_.padded; ++s) dsum[s] -= columns[s];
    const auto weight = m_.left_transposed(m_.weight, kChunk);
    const auto right = m_.right(dy, m_.padded, width_);
    m_.for_triangle([&](int64_t row, int64_t rows) {
      Products::template multiply<false>(weight.at(row, row), right.at(row), rows, width_, m_.padded - row,
                                         m_.du + row * width_, width_);
    });
  }

  // next state = decay of the chunk * state + b^T (w o u).
  void into_next(const Chunk& chunk, const float* dstate, const float* state, double* dsum) {
    float* through = m_.other;
    Products::template multiply<false>(m_.b_left, m_.right(dstate, state_, width_), m_.padded, width_, state_, through,
                                       width_);
    const int64_t last = chunk.rows - 1;
    for (int64_t s = 0; s < chunk.rows; ++s) {
      const float factor = m_.to_end[s];
      F32x16 sum{};
      for (int64_t i = s * width_; i < (s + 1) * width_; i += kLanes) {
        const F32x16 d = load(through + i) * factor;
        sum += d * load(m_.u + i);
        store(m_.du + i, load(m_.du + i) + d);
      }
      const auto dlog = static_cast<double>(sum_of_lanes(sum));
      dsum[last] += dlog;
      dsum[s] -= dlog;
    }
    if (state != nullptr) {
      dsum[last] += static_cast<double>(m_.from_start[last] * dot(state, dstate, frame_.state_size()));
    }
    m_.scale_rows(m_.u, m_.to_end, width_, m_.u_to_end);
    const auto u = m_.left(m_.u_to_end, width_, width_);
    Products::template multiply<true>(u, m_.right_transposed(dstate, width_, state_), m_.padded, state_, width_, m_.db,
                                      state_);
  }

  // y += e o (c state).
  void from_previous(const Chunk& chunk, const float* dy, float* dstate, const float* state, double* dsum) {
    m_.scale_rows(dy, m_.from_start, width_, m_.dy_from_start);
    float* dc = m_.other;
    Products::template multiply<false>(m_.left(m_.dy_from_start, width_, width_),
                                       m_.right_transposed(state, width_, state_), m_.padded, state_, width_, dc,
                                       state_);
    for (int64_t t = 0; t < chunk.rows; ++t) {
      F32x16 sum{};
      for (int64_t n = t * state_; n < (t + 1) * state_; n += kLanes) {
        sum += load(dc + n) * load(m_.c + n);
        store(m_.dc + n, load(m_.dc + n) + load(dc + n));
      }
      dsum[t] += static_cast<double>(sum_of_lanes(sum));
    }
    if (chunk.is_last) {
      std::fill_n(dstate, frame_.state_size(), 0.0F);
    } else {
      scale_all(dstate, m_.from_start[chunk.rows - 1], frame_.state_size());
    }
    Products::template multiply<true>(m_.c_transposed, m_.right(m_.dy_from_start, m_.padded, width_), state_, width_,
                                      m_.padded, dstate, width_);
  }

  void into_inputs(const Chunk& chunk, int64_t h, float* x, const float* dy, const double* dsum) {
    const int64_t heads = frame_.shape.heads;
    const float skip = frame_.skip.template data_ptr<float>()[h];
    const double rate = static_cast<double>(frame_.rate_H[h]) * static_cast<double>(kLn2);
    F32x16 dskip{};
    double from_behind = 0, dlog_decay = 0;
    for (int64_t t = chunk.rows - 1; t >= 0; --t) {
      F32x16 ddelta{};
      for (int64_t i = t * width_; i < (t + 1) * width_; i += kLanes) {
        const F32x16 value = load(x + i), du = load(m_.du + i), out = load(dy + i);
        store(x + i, du * m_.delta[t] + out * skip);
        ddelta += du * value;
        dskip += out * value;
      }
      // The logarithm of a row's decay is part of the sums of all rows from there on.
      from_behind += dsum[t];
      dlog_decay += from_behind * static_cast<double>(m_.delta[t]) * rate;
      const double dstep =
          (static_cast<double>(sum_of_lanes(ddelta)) + from_behind * rate) * static_cast<double>(m_.slope[t]);
      gradients_.step_NH.data_ptr<float>()[(chunk.first + t) * heads + h] = static_cast<float>(dstep);
    }
    gradients_.log_decay.data_ptr<float>()[group_ * heads + h] += static_cast<float>(dlog_decay);
    gradients_.skip.data_ptr<float>()[group_ * heads + h] += sum_of_lanes(dskip);
  }

  const Frame<Products>& frame_;
  const Rows<const X>&x_, &dy_;
  const Element* kept_;
  Gradients& gradients_;
  Matrices m_;
  int64_t group_, block_;
  Heads heads_;
  int64_t width_, state_;
  float* state_before_ = nullptr;  // [S, P]
};

// Calls f with an object of the type of products and one of the type of activations.
template <class F>
void with_products(at::ScalarType type, F&& f) {
#if defined(VERBATIM_BFLOAT16_UNIT)
  if (type == at::kBFloat16) {
    return with_bfloat16_unit([&](auto unit) { f(BFloat16Products<decltype(unit)>{}, c10::BFloat16{}); });
  }
#endif
  with_type(type, [&](auto zero) { f(FloatProducts{}, zero); });
}

StateSpaceShape shape_of(const std::vector<int64_t>& sizes) {
  return {.heads = sizes[0], .head_width = sizes[1], .groups = sizes[2], .state = sizes[3]};
}

struct StateSpace : torch::autograd::Function<StateSpace> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& step,
                            const at::Tensor& log_decay, const at::Tensor& b, const at::Tensor& c,
                            const at::Tensor& skip, const Sequences& sequences, const StateSpaceShape& shape,
                            bool needs_gradient) {
    const at::Tensor x_NI = with_dense_rows(x);
    at::Tensor y_NI = at::empty(x_NI.sizes(), x_NI.options());
    at::Tensor kept;
    with_products(x_NI.scalar_type(), [&](auto products, auto zero) {
      using Products = decltype(products);
      using X = decltype(zero);
      const Frame<Products> frame(sequences, shape, step, log_decay, b, c, skip);
      if (needs_gradient) {
        const at::ScalarType type = sizeof(typename Products::Element) == 2 ? at::kBFloat16 : at::kFloat;
        kept = at::empty({frame.kept_chunks, shape.heads, frame.state, frame.head_width}, x_NI.options().dtype(type));
      }
      auto* kept_data = needs_gradient ? static_cast<typename Products::Element*>(kept.data_ptr()) : nullptr;
      const Rows<const X> x_rows(x_NI);
      const Rows<X> y_rows(y_NI);
      for_each_task(frame.tasks.count(), frame.threads(),
                    [&](int64_t task) { forward_task<Products, X>(frame, x_rows, task, kept_data, y_rows); });
    });
    if (needs_gradient) {
      context->save_for_backward({x_NI, step, log_decay, b, c, skip, kept});
      context->saved_data["offsets"] = sequences.offsets;
      context->saved_data["shape"] = std::vector<int64_t>{shape.heads, shape.head_width, shape.groups, shape.state};
    }
    return y_NI;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("state_space");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &step = saved[1], &log_decay = saved[2], &b = saved[3], &c = saved[4];
    const at::Tensor &skip = saved[5], &kept = saved[6];
    const Sequences sequences{context->saved_data["offsets"].toIntVector()};
    const StateSpaceShape shape = shape_of(context->saved_data["shape"].toIntVector());
    const at::Tensor dy_NI = with_dense_rows(gradients[0]);
    Gradients parts;
    with_products(x_NI.scalar_type(), [&](auto products, auto zero) {
      using Products = decltype(products);
      using X = decltype(zero);
      const Frame<Products> frame(sequences, shape, step, log_decay, b, c, skip);
      const at::TensorOptions options = frame.step.options();
      const std::vector<int64_t> sums = {frame.tasks.groups(), shape.heads};
      parts = {at::empty(x_NI.sizes(), x_NI.options()),
               at::empty(step.sizes(), options),
               at::zeros(sums, options),
               at::zeros(sums, options),
               at::zeros({frame.tasks.blocks, b.size(0), b.size(1)}, options),
               at::zeros({frame.tasks.blocks, b.size(0), b.size(1)}, options)};
      const Rows<const X> x_rows(x_NI), dy_rows(dy_NI);
      for_each_task(frame.tasks.count(), frame.threads(), [&](int64_t task) {
        BackwardTask<Products, X>(frame, x_rows, dy_rows,
                                  static_cast<const typename Products::Element*>(kept.data_ptr()), parts, task)
            .run();
      });
    });
    return {parts.x_NI,
            parts.step_NH.to(step.scalar_type()),
            sum_in_order(parts.log_decay),
            sum_in_order(parts.b).to(b.scalar_type()),
            sum_in_order(parts.c).to(c.scalar_type()),
            sum_in_order(parts.skip),
            {},
            {},
            {}};
  }
};

}  // namespace

at::Tensor state_space(const at::Tensor& x_NI, const at::Tensor& step_NH, const at::Tensor& log_decay_H,
                       const at::Tensor& b_NE, const at::Tensor& c_NE, const at::Tensor& skip_H,
                       const Sequences& sequences, const StateSpaceShape& shape) {
  check_state_space(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  if (!x_NI.is_cpu()) return state_space_chunks(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  if (!is_fast(x_NI) || !is_fast(step_NH) || !is_fast(b_NE) || !is_fast(c_NE) || !is_fast_float(log_decay_H) ||
      !is_fast_float(skip_H)) {
    return state_space_plain(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape);
  }
  return StateSpace::apply(x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H, sequences, shape,
                           needs_gradient({x_NI, step_NH, log_decay_H, b_NE, c_NE, skip_H}));
}

}  // namespace verbatim::nn
