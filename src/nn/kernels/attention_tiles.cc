#include "nn/kernels/attention_tiles.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "nn/kernels/bfloat16_tiles.h"
#include "nn/kernels/task_loop.h"
#include "nn/kernels/tile_products.h"
#include "nn/kernels/vector_math.h"

// Tiled attention with an online softmax (Dao et al. 2022, Dao 2023): scores live only as tiles of 32 queries by a few
// blocks of 32 keys; the forward pass leaves one number per query and head, from which the backward pass computes the
// weights again. Tiles are kept transposed, keys by queries: every per-query quantity is then a vector of queries, and
// no sum or maximum goes across lanes. Legend: d' the head width padded for the products (`width`).
namespace verbatim::nn {
namespace {

constexpr int64_t kQueryChunk = 1024;   // queries of one forward task: its keys are packed once for them
constexpr int64_t kKeyChunk = 1024;     // keys of one backward task
constexpr int64_t kMostKeyChunks = 8;   // ... of one segment; bounds the memory for partial query gradients
constexpr int64_t kForwardBlocks = 4;   // key blocks per forward step
constexpr int64_t kBackwardBlocks = 2;  // key blocks per backward step
constexpr float kMasked = -1e30f;       // a score that is not seen
constexpr float kLowest = -1e20f;       // below all scores, above kMasked: exp2(kMasked - kLowest) is 0
constexpr float kSeesNothing = 1e30f;   // the log sum of a query without keys: exp2(score - kSeesNothing) is 0

int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }
int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

struct Workspace {
  ScratchBuffer keys, keys_transposed, values, query_columns, query_pairs, grad_columns, grad_pairs, query_facts;
  ScratchBuffer staged, output, scores, grad_scores, weights, grad_weights, grad_weights_right;
  ScratchBuffer grad_query, grad_key, grad_value;
};

Workspace& thread_workspace() {
  thread_local Workspace workspace;
  return workspace;
}

enum class Turn { kForward, kBack };

// What is the same for all heads and tiles of a call.
template <class T>
struct Frame {
  const AttentionProblem& problem;
  int64_t width;  // d'
  float scale;    // d^-1/2 log2(e): scores in units of log 2

  Frame(const AttentionProblem& p, int64_t step)
      : problem(p),
        width(round_up(p.head_width, step)),
        scale(static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(p.head_width)))) {}

  [[nodiscard]] int64_t group() const { return problem.heads / problem.key_value_heads; }

  void rotate(float* row, int64_t position, Turn turn) const {
    const int64_t half = problem.head_width / 2;
    const float* cosine = problem.rotary->cosine.data() + position * half;
    const float* sine = problem.rotary->sine.data() + position * half;
    const float sign = turn == Turn::kForward ? 1.0f : -1.0f;
    if (problem.interleaved) {
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float x = row[2 * i];
        const float y = row[2 * i + 1];
        row[2 * i] = x * cosine[i] - y * (sign * sine[i]);
        row[2 * i + 1] = y * cosine[i] + x * (sign * sine[i]);
      }
      return;
    }
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t count = std::min(kLanes, half - i);
      const F32x16 c = load_part(cosine + i, count);
      const F32x16 s = sign * load_part(sine + i, count);
      const F32x16 x = load_part(row + i, count);
      const F32x16 y = load_part(row + half + i, count);
      store_part(row + i, x * c - y * s, count);
      store_part(row + half + i, y * c + x * s, count);
    }
  }

  // One head of up to 32 rows as float32 [32][d'], zero elsewhere.
  void stage(HeadColumns<const void*> source, int64_t head, int64_t row, int64_t rows, float* staged) const {
    const int64_t d = problem.head_width;
    const T* from = static_cast<const T*>(source.data) + row * source.stride + head * d;
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, d - i);
      for (int64_t r = 0; r < rows; ++r) {
        // Rows are far apart, which hardware prefetchers do not follow; the next block is wanted soon.
        __builtin_prefetch(from + (r + kTile) * source.stride + i);
        store(staged + r * width + i, count > 0 ? load_part(from + r * source.stride + i, count) : F32x16{});
      }
    }
    std::fill(staged + rows * width, staged + kTile * width, 0.0f);
  }
  void stage_rotated(HeadColumns<const void*> source, int64_t head, int64_t row, int64_t rows, int64_t start,
                     float* staged) const {
    stage(source, head, row, rows, staged);
    if (problem.rotary == nullptr) return;
    for (int64_t r = 0; r < rows; ++r) rotate(staged + r * width, row + r - start, Turn::kForward);
  }
  // The opposite way.
  void write(const float* staged, HeadColumns<void*> target, int64_t head, int64_t row, int64_t rows) const {
    const int64_t d = problem.head_width;
    T* to = static_cast<T*>(target.data) + row * target.stride + head * d;
    for (int64_t i = 0; i < d; i += kLanes) {
      const int64_t count = std::min(kLanes, d - i);
      for (int64_t r = 0; r < rows; ++r) store_part(to + r * target.stride + i, load(staged + r * width + i), count);
    }
  }
  void write_rotated_back(float* staged, HeadColumns<void*> target, int64_t head, int64_t row, int64_t rows,
                          int64_t start) const {
    if (problem.rotary != nullptr) {
      for (int64_t r = 0; r < rows; ++r) rotate(staged + r * width, row + r - start, Turn::kBack);
    }
    write(staged, target, head, row, rows);
  }
};

// [d'][32] to [32][d']
void turn_tile(const float* tile, int64_t width, float* staged) {
  for (int64_t c = 0; c < width; c += kLanes) {
    for (int64_t r = 0; r < kTile; r += kLanes) {
      transpose_16x16(reinterpret_cast<const uint32_t*>(tile + c * kTile + r), kTile,
                      reinterpret_cast<uint32_t*>(staged + r * width + c), width);
    }
  }
}

// Which keys the 32 queries from `query` on see, counted from key `origin`; queries from `last` on see none.
struct TileView {
  int32_t begin[kTile] = {};
  int32_t end[kTile] = {};
  int64_t all_begin = 0;  // keys in [all_begin, all_end) are seen by all 32
  int64_t all_end = 0;
  int64_t any_begin = 0;  // keys outside [any_begin, any_end) by none
  int64_t any_end = 0;

  TileView(const AttentionProblem& p, int64_t query, int64_t last, int64_t origin) {
    const int64_t rows = std::min(kTile, last - query);
    for (int64_t r = 0; r < rows; ++r) {
      begin[r] = static_cast<int32_t>(p.begin[query + r] - origin);
      end[r] = static_cast<int32_t>(p.end[query + r] - origin);
    }
    any_begin = p.begin[query] - origin;
    any_end = p.end[query + rows - 1] - origin;
    all_begin = p.begin[query + rows - 1] - origin;
    all_end = rows == kTile ? p.end[query] - origin : all_begin;
  }

  // Sets the scores [keys][32] of what is not seen.
  void mask(float* scores, int64_t key, int64_t keys) const {
    for (int64_t block = 0; block < keys; block += kTile) {
      if (key + block >= all_begin && key + block + kTile <= all_end) continue;
      for (int64_t j = block; j < block + kTile; ++j) {
        const I32x16 index = splat_int(static_cast<int32_t>(key + j));
        for (int v = 0; v < 2; ++v) {
          float* p = scores + j * kTile + v * kLanes;
          const I32x16 first = load_as<I32x16>(begin + v * kLanes), behind = load_as<I32x16>(end + v * kLanes);
          const I32x16 seen = (index >= first) & (index < behind);
          store(p, select(seen, load(p), splat(kMasked)));
        }
      }
    }
  }
};

// ---- forward ----

struct ForwardTask {
  const AttentionSegment* segment;
  int64_t key_value_head;
  int64_t first;  // queries
  int64_t last;
};

template <class Products, class T>
void forward_task(const Frame<T>& frame, const AttentionOutput& result, const ForwardTask& task) {
  using Element = typename Products::Element;
  [[maybe_unused]] const typename Products::Session session;
  const AttentionProblem& p = frame.problem;
  const int64_t width = frame.width;
  Workspace& work = thread_workspace();
  float* staged = work.staged.get<float>(kTile * width);
  float* output = work.output.get<float>(kTile * width);
  float* scores = work.scores.get<float>(kForwardBlocks * kTile * kTile);
  Element* weights = work.weights.get<Element>(kForwardBlocks * kTile * kTile);
  Element* columns = work.query_columns.get<Element>(kTile * width);

  const int64_t origin = p.begin[task.first];
  const int64_t key_end = std::max<int64_t>(p.end[task.last - 1], origin);
  const int64_t blocks = ceil_div(key_end - origin, kTile);
  Element* keys = work.keys.get<Element>(blocks * kTile * width);
  Element* values = work.values.get<Element>(blocks * kTile * width);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = origin + b * kTile;
    const int64_t rows = std::min(kTile, key_end - row);
    frame.stage_rotated(p.k, task.key_value_head, row, rows, task.segment->key_begin, staged);
    Products::pack_rows(staged, width, keys + b * kTile * width);
    frame.stage(p.v, task.key_value_head, row, rows, staged);
    Products::pack_transposed(staged, width, values + b * kTile * width);
  }

  for (int64_t r = 0; r < frame.group(); ++r) {
    const int64_t head = task.key_value_head * frame.group() + r;
    for (int64_t query = task.first; query < task.last; query += kTile) {
      const int64_t rows = std::min(kTile, task.last - query);
      frame.stage_rotated(p.q, head, query, rows, task.segment->query_begin, staged);
      Products::pack_columns(staged, width, columns);
      const TileView view(p, query, task.last, origin);
      std::fill_n(output, kTile * width, 0.0f);
      F32x16 top[2] = {splat(kLowest), splat(kLowest)};  // the largest score so far, not scaled
      F32x16 sum[2] = {};

      const int64_t end_block = ceil_div(view.any_end, kTile);
      for (int64_t block = view.any_begin / kTile; block < end_block; block += kForwardBlocks) {
        const int64_t count = std::min(kForwardBlocks, end_block - block);
        const int64_t key = block * kTile;
        Products::scores(keys + key * width, columns, width, count, scores);
        view.mask(scores, key, count * kTile);

        F32x16 even[2] = {top[0], top[1]};
        F32x16 odd[2] = {top[0], top[1]};
        for (int64_t j = 0; j < count * kTile; j += 2) {
          even[0] = maximum(even[0], load(scores + j * kTile));
          even[1] = maximum(even[1], load(scores + j * kTile + 16));
          odd[0] = maximum(odd[0], load(scores + j * kTile + 32));
          odd[1] = maximum(odd[1], load(scores + j * kTile + 48));
        }
        F32x16 offset[2];
        F32x16 shrink[2];
        for (int v = 0; v < 2; ++v) {
          const F32x16 new_top = maximum(even[v], odd[v]);
          shrink[v] = exp2((top[v] - new_top) * frame.scale);
          offset[v] = new_top * frame.scale;
          top[v] = new_top;
          sum[v] *= shrink[v];
        }
        for (int64_t c = 0; c < width; ++c) {
          store(output + c * kTile, load(output + c * kTile) * shrink[0]);
          store(output + c * kTile + 16, load(output + c * kTile + 16) * shrink[1]);
        }
        for (int64_t pair = 0; pair < count * kTile / 2; ++pair) {
          const float* from = scores + pair * 2 * kTile;
          const F32x16 first[2] = {exp2<Products::kExp>(load(from) * frame.scale - offset[0]),
                                   exp2<Products::kExp>(load(from + 16) * frame.scale - offset[1])};
          const F32x16 second[2] = {exp2<Products::kExp>(load(from + 32) * frame.scale - offset[0]),
                                    exp2<Products::kExp>(load(from + 48) * frame.scale - offset[1])};
          sum[0] += first[0] + second[0];
          sum[1] += first[1] + second[1];
          Products::put_right(first, second, weights, pair);
        }
        Products::add_over_keys(values + key * width, weights, width, count, output);
      }

      for (int v = 0; v < 2; ++v) {
        const F32x16 factor = select(sum[v] == 0.0f, F32x16{}, 1.0f / sum[v]);
        for (int64_t c = 0; c < width; ++c) {
          float* at = output + c * kTile + v * kLanes;
          store(at, load(at) * factor);
        }
        const F32x16 log_sum = select(sum[v] == 0.0f, splat(kSeesNothing), top[v] * frame.scale + log2(sum[v]));
        const int64_t lanes = std::min(kLanes, rows - v * kLanes);
        if (lanes > 0) store_part(result.log_sum + head * p.queries + query + v * kLanes, log_sum, lanes);
      }
      turn_tile(output, width, staged);
      frame.write(staged, result.out, head, query, rows);
    }
  }
}

template <class Products, class T>
void forward(const AttentionProblem& problem, const AttentionOutput& result) {
  const Frame<T> frame(problem, Products::kWidthStep);
  std::vector<ForwardTask> tasks;
  for (int64_t s = 0; s < problem.num_segments; ++s) {
    const AttentionSegment& segment = problem.segments[s];
    for (int64_t first = segment.query_begin; first < segment.query_end; first += kQueryChunk) {
      const int64_t last = std::min(first + kQueryChunk, segment.query_end);
      for (int64_t g = 0; g < problem.key_value_heads; ++g) tasks.push_back({&segment, g, first, last});
    }
  }
  for_each_task(static_cast<int64_t>(tasks.size()), problem.threads,
                [&](int64_t t) { forward_task<Products>(frame, result, tasks[t]); });
}

// ---- backward ----

struct BackwardTask {
  const AttentionSegment* segment;
  int64_t key_value_head;
  int64_t first_key;
  int64_t last_key;
  int64_t first_tile;  // tiles of 32 queries from the start of the segment
  int64_t last_tile;
  int64_t partial;  // where the query gradients of this task's tiles go, [group][tiles][d'][32]; -1: the only task
};

// Sums of partial query gradients, for segments with more than one chunk of keys.
struct ReduceTask {
  const AttentionSegment* segment;
  int64_t head;
  int64_t tile;
  int64_t first_source;  // range of backward tasks of this segment and key/value head
  int64_t last_source;
};

template <class T>
void finish_query_gradient(const Frame<T>& frame, const AttentionGradients& out, const AttentionSegment& segment,
                           int64_t head, int64_t tile, float* sums, float* staged) {
  const int64_t query = segment.query_begin + tile * kTile;
  const int64_t rows = std::min(kTile, segment.query_end - query);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(frame.problem.head_width)));
  for (int64_t i = 0; i < kTile * frame.width; i += kLanes) store(sums + i, load(sums + i) * scale);
  turn_tile(sums, frame.width, staged);
  frame.write_rotated_back(staged, out.grad_q, head, query, rows, segment.query_begin);
}

template <class Products, class T>
void backward_task(const Frame<T>& frame, const AttentionGradients& gradients, const BackwardTask& task,
                   float* partials) {
  using Element = typename Products::Element;
  [[maybe_unused]] const typename Products::Session session;
  const AttentionProblem& p = frame.problem;
  const AttentionSegment& segment = *task.segment;
  const int64_t width = frame.width;
  const int64_t block_size = kTile * width;
  const int64_t tiles = task.last_tile - task.first_tile;
  const int64_t blocks = ceil_div(task.last_key - task.first_key, kTile);
  Workspace& work = thread_workspace();
  float* staged = work.staged.get<float>(block_size);
  float* scores = work.scores.get<float>(kBackwardBlocks * kTile * kTile);
  float* grad_scores = work.grad_scores.get<float>(kBackwardBlocks * kTile * kTile);
  Element* weights = work.weights.get<Element>(kBackwardBlocks * kTile * kTile);
  Element* grad_weights = work.grad_weights.get<Element>(kBackwardBlocks * kTile * kTile);
  Element* grad_weights_right =
      Products::kTransposedCopy ? work.grad_weights_right.get<Element>(kBackwardBlocks * kTile * kTile) : grad_weights;
  Element* keys = work.keys.get<Element>(blocks * block_size);
  Element* keys_transposed = Products::kTransposedCopy ? work.keys_transposed.get<Element>(blocks * block_size) : keys;
  Element* values = work.values.get<Element>(blocks * block_size);
  Element* query_columns = work.query_columns.get<Element>(tiles * block_size);
  Element* query_pairs = work.query_pairs.get<Element>(tiles * block_size);
  Element* grad_columns = work.grad_columns.get<Element>(tiles * block_size);
  Element* grad_pairs = work.grad_pairs.get<Element>(tiles * block_size);
  float* facts = work.query_facts.get<float>(tiles * 2 * kTile);  // log sums and sums of grad_out * out
  float* grad_key = work.grad_key.get<float>(blocks * block_size);
  float* grad_value = work.grad_value.get<float>(blocks * block_size);

  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = task.first_key + b * kTile;
    const int64_t rows = std::min(kTile, task.last_key - row);
    frame.stage_rotated(p.k, task.key_value_head, row, rows, segment.key_begin, staged);
    Products::pack_rows(staged, width, keys + b * block_size);
    if (Products::kTransposedCopy) Products::pack_transposed(staged, width, keys_transposed + b * block_size);
    frame.stage(p.v, task.key_value_head, row, rows, staged);
    Products::pack_rows(staged, width, values + b * block_size);
  }
  std::fill_n(grad_key, blocks * block_size, 0.0f);
  std::fill_n(grad_value, blocks * block_size, 0.0f);

  for (int64_t r = 0; r < frame.group(); ++r) {
    const int64_t head = task.key_value_head * frame.group() + r;
    float* grad_query = task.partial < 0 ? work.grad_query.get<float>(tiles * block_size)
                                         : partials + task.partial + r * tiles * block_size;
    std::fill_n(grad_query, tiles * block_size, 0.0f);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t query = segment.query_begin + (task.first_tile + t) * kTile;
      const int64_t rows = std::min(kTile, segment.query_end - query);
      frame.stage_rotated(p.q, head, query, rows, segment.query_begin, staged);
      Products::pack_columns(staged, width, query_columns + t * block_size);
      Products::pack_pairs(staged, width, query_pairs + t * block_size);
      frame.stage(gradients.grad_out, head, query, rows, staged);
      Products::pack_columns(staged, width, grad_columns + t * block_size);
      Products::pack_pairs(staged, width, grad_pairs + t * block_size);
      float* log_sum = facts + t * 2 * kTile;
      float* dot = log_sum + kTile;
      std::fill_n(log_sum, kTile, kSeesNothing);
      std::fill_n(dot, kTile, 0.0f);
      std::copy_n(gradients.log_sum + head * p.queries + query, rows, log_sum);
      const T* out = static_cast<const T*>(gradients.out.data) + query * gradients.out.stride + head * p.head_width;
      for (int64_t i = 0; i < rows; ++i) {
        F32x16 sum = {};
        for (int64_t c = 0; c < p.head_width; c += kLanes) {
          sum += load_part(out + i * gradients.out.stride + c, std::min(kLanes, p.head_width - c)) *
                 load(staged + i * width + c);
        }
        dot[i] = sum_of_lanes(sum);
      }
    }

    for (int64_t block = 0; block < blocks; block += kBackwardBlocks) {
      const int64_t count = std::min(kBackwardBlocks, blocks - block);
      const int64_t key = task.first_key + block * kTile;
      // Queries before `first` end at or before the first key, queries from `last` on begin after the last.
      const int64_t first =
          std::upper_bound(p.end + segment.query_begin, p.end + segment.query_end, static_cast<int32_t>(key)) - p.end;
      const int64_t last = std::lower_bound(p.begin + segment.query_begin, p.begin + segment.query_end,
                                            static_cast<int32_t>(std::min(key + count * kTile, task.last_key))) -
                           p.begin;
      if (first >= last) continue;
      const int64_t first_tile = std::max((first - segment.query_begin) / kTile, task.first_tile);
      const int64_t last_tile = std::min(ceil_div(last - segment.query_begin, kTile), task.last_tile);
      for (int64_t tile = first_tile; tile < last_tile; ++tile) {
        const int64_t t = tile - task.first_tile;
        const TileView view(p, segment.query_begin + tile * kTile, segment.query_end, task.first_key);
        Products::scores(keys + block * block_size, query_columns + t * block_size, width, count, scores);
        Products::scores(values + block * block_size, grad_columns + t * block_size, width, count, grad_scores);
        view.mask(scores, block * kTile, count * kTile);
        const float* log_sum = facts + t * 2 * kTile;
        const F32x16 offset[2] = {load(log_sum), load(log_sum + 16)};
        const F32x16 dot[2] = {load(log_sum + kTile), load(log_sum + kTile + 16)};
        for (int64_t pair = 0; pair < count * kTile / 2; ++pair) {
          F32x16 weight[2][2];
          F32x16 grad[2][2];
          for (int odd = 0; odd < 2; ++odd) {
            for (int v = 0; v < 2; ++v) {
              const int64_t at = (2 * pair + odd) * kTile + v * kLanes;
              weight[odd][v] = exp2<Products::kExp>(load(scores + at) * frame.scale - offset[v]);
              grad[odd][v] = weight[odd][v] * (load(grad_scores + at) - dot[v]);
            }
          }
          Products::put_left(weight[0], weight[1], weights, pair);
          Products::put_left(grad[0], grad[1], grad_weights, pair);
          if (Products::kTransposedCopy) Products::put_right(grad[0], grad[1], grad_weights_right, pair);
        }
        Products::add_over_queries(weights, grad_pairs + t * block_size, width, count, grad_value + block * block_size);
        Products::add_over_queries(grad_weights, query_pairs + t * block_size, width, count,
                                   grad_key + block * block_size);
        Products::add_over_keys(keys_transposed + block * block_size, grad_weights_right, width, count,
                                grad_query + t * block_size);
      }
    }
    if (task.partial < 0) {
      for (int64_t t = 0; t < tiles; ++t) {
        finish_query_gradient(frame, gradients, segment, head, t, grad_query + t * block_size, staged);
      }
    }
  }

  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p.head_width)));
  for (int64_t i = 0; i < blocks * block_size; i += kLanes) store(grad_key + i, load(grad_key + i) * scale);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = task.first_key + b * kTile;
    const int64_t rows = std::min(kTile, task.last_key - row);
    frame.write_rotated_back(grad_key + b * block_size, gradients.grad_k, task.key_value_head, row, rows,
                             segment.key_begin);
    frame.write(grad_value + b * block_size, gradients.grad_v, task.key_value_head, row, rows);
  }
}

template <class Products, class T>
void backward(const AttentionProblem& problem, const AttentionGradients& gradients) {
  const Frame<T> frame(problem, Products::kWidthStep);
  const int64_t block_size = kTile * frame.width;
  std::vector<BackwardTask> tasks;
  std::vector<ReduceTask> reductions;
  int64_t partial_size = 0;
  for (int64_t s = 0; s < problem.num_segments; ++s) {
    const AttentionSegment& segment = problem.segments[s];
    const int64_t keys = segment.key_end - segment.key_begin;
    const int64_t all_tiles = ceil_div(segment.query_end - segment.query_begin, kTile);
    int64_t longest = 0;
    for (int64_t q = segment.query_begin; q < segment.query_end; ++q) {
      longest = std::max<int64_t>(longest, problem.end[q] - problem.begin[q]);
    }
    const int64_t chunk = std::max(kKeyChunk, round_up(ceil_div(longest, kMostKeyChunks), kTile));
    const int64_t chunks = std::max<int64_t>(1, ceil_div(keys, chunk));
    for (int64_t g = 0; g < problem.key_value_heads; ++g) {
      const auto first_source = static_cast<int64_t>(tasks.size());
      for (int64_t c = 0; c < chunks; ++c) {
        BackwardTask task{&segment, g, segment.key_begin + c * chunk, 0, 0, all_tiles, -1};
        task.last_key = std::min(task.first_key + chunk, segment.key_end);
        if (chunks > 1) {
          const int64_t first = std::upper_bound(problem.end + segment.query_begin, problem.end + segment.query_end,
                                                 static_cast<int32_t>(task.first_key)) -
                                problem.end - segment.query_begin;
          const int64_t last = std::lower_bound(problem.begin + segment.query_begin, problem.begin + segment.query_end,
                                                static_cast<int32_t>(task.last_key)) -
                               problem.begin - segment.query_begin;
          task.first_tile = first / kTile;
          task.last_tile = std::max(ceil_div(last, kTile), task.first_tile);
          task.partial = partial_size;
          partial_size += frame.group() * (task.last_tile - task.first_tile) * block_size;
        }
        tasks.push_back(task);
      }
      if (chunks == 1) continue;
      for (int64_t r = 0; r < frame.group(); ++r) {
        for (int64_t tile = 0; tile < all_tiles; ++tile) {
          reductions.push_back({&segment, g * frame.group() + r, tile, first_source, first_source + chunks});
        }
      }
    }
  }
  ScratchBuffer partial_memory;
  float* partials = partial_memory.get<float>(partial_size);
  for_each_task(static_cast<int64_t>(tasks.size()), problem.threads,
                [&](int64_t t) { backward_task<Products>(frame, gradients, tasks[t], partials); });
  for_each_task(static_cast<int64_t>(reductions.size()), problem.threads, [&](int64_t t) {
    const ReduceTask& reduce = reductions[t];
    Workspace& work = thread_workspace();
    float* sums = work.grad_query.get<float>(block_size);
    std::fill_n(sums, block_size, 0.0f);
    for (int64_t source = reduce.first_source; source < reduce.last_source; ++source) {
      const BackwardTask& task = tasks[source];
      if (reduce.tile < task.first_tile || reduce.tile >= task.last_tile) continue;
      const int64_t tiles = task.last_tile - task.first_tile;
      const int64_t r = reduce.head - task.key_value_head * frame.group();
      const float* part = partials + task.partial + (r * tiles + reduce.tile - task.first_tile) * block_size;
      for (int64_t i = 0; i < block_size; i += kLanes) store(sums + i, load(sums + i) + load(part + i));
    }
    finish_query_gradient(frame, gradients, *reduce.segment, reduce.head, reduce.tile, sums,
                          work.staged.get<float>(block_size));
  });
}

}  // namespace

void tiled_forward(const AttentionProblem& problem, const AttentionOutput& result) {
  if (problem.type == AttentionType::kFloat) return forward<FloatTiles, float>(problem, result);
#if defined(VERBATIM_BFLOAT16_UNIT)
  with_bfloat16_unit([&](auto unit) { forward<BFloat16Tiles<decltype(unit)>, BFloat16Bits>(problem, result); });
#else
  forward<FloatTiles, BFloat16Bits>(problem, result);
#endif
}

void tiled_backward(const AttentionProblem& problem, const AttentionGradients& gradients) {
  if (problem.type == AttentionType::kFloat) return backward<FloatTiles, float>(problem, gradients);
#if defined(VERBATIM_BFLOAT16_UNIT)
  with_bfloat16_unit([&](auto unit) { backward<BFloat16Tiles<decltype(unit)>, BFloat16Bits>(problem, gradients); });
#else
  backward<FloatTiles, BFloat16Bits>(problem, gradients);
#endif
}

}  // namespace verbatim::nn
