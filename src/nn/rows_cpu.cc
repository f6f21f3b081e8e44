#include "nn/rows_cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "nn/kernels/lanes.h"
#include "nn/kernels/task_loop.h"

namespace verbatim::nn {

namespace {

// Below this many multiplications a second thread costs more than it brings.
constexpr int64_t kParallelWork = 1 << 20;
// From this many rows on a blocked matrix product beats row-wise dot products.
constexpr int64_t kMatrixRows = 8;

float dot(const float* a, const float* b, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Of one block of a product, R rows of x with as many rows of the weight as make sixteen sums at most (seven where a
// vector takes several registers): each weight is loaded once for all rows, and a sum is formed in the same order
// whatever R is, so that a row comes out as it does alone. x [R, D], y [R, E] with its own stride.
template <int R>
struct ProductBlock {
  static constexpr int kMost = kFillsRegister ? 16 : 4;
  static constexpr int kOutputs = R == 1 ? kMost : R == 2 ? kMost / 2 : R <= 4 ? kMost / 4 : std::max(1, kMost / 8);

  template <int outputs>
  static void multiply(const float* weight_ED, const float* x_RD, int64_t width, float* y_RE, int64_t stride) {
    F32x16 sums[R][outputs] = {};
    by_vectors(width, [&](int64_t i, auto lanes) {
      F32x16 w[outputs];
#pragma GCC unroll 16
      for (int e = 0; e < outputs; ++e) w[e] = load(weight_ED + e * width + i, lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const F32x16 x = load(x_RD + r * width + i, lanes);
#pragma GCC unroll 16
        for (int e = 0; e < outputs; ++e) sums[r][e] += w[e] * x;
      }
    });
    alignas(64) float vectors[kLanes * kLanes], totals[kLanes];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int e = 0; e < outputs; ++e) store(vectors + (r * outputs + e) * kLanes, sums[r][e]);
    }
    for (int64_t rest = R * outputs; rest < kLanes; ++rest) store(vectors + rest * kLanes, F32x16{});
    store(totals, sums_of_lanes(vectors));
    for (int r = 0; r < R; ++r) std::copy_n(totals + r * outputs, outputs, y_RE + r * stride);
  }

  // The outputs [begin, end).
  static void rows(const float* weight_ED, const float* x_RD, int64_t width, float* y_RE, int64_t stride, int64_t begin,
                   int64_t end) {
    int64_t e = begin;
    for (; e + kOutputs <= end; e += kOutputs) {
      multiply<kOutputs>(weight_ED + e * width, x_RD, width, y_RE + e, stride);
    }
    for (; e < end; ++e) multiply<1>(weight_ED + e * width, x_RD, width, y_RE + e, stride);
  }
};

// One row alone waits for memory: four rows of the weight at a time, while the four behind them are asked for. The same
// sums as above.
void one_product_row(const float* weight_ED, const float* x_D, int64_t width, float* y_E, int64_t /*stride*/,
                     int64_t begin, int64_t end) {
  alignas(64) float vectors[kLanes * kLanes], totals[kLanes];
  int64_t e = begin;
  for (; e + kLanes <= end; e += kLanes) {
    for (int64_t four = 0; four < kLanes; four += 4) {
      const float* w0 = weight_ED + (e + four) * width;
      const float *w1 = w0 + width, *w2 = w1 + width, *w3 = w2 + width, *next = w3 + width;
      F32x16 s0{}, s1{}, s2{}, s3{};
      by_vectors(width, [&](int64_t i, auto lanes) {
        const F32x16 x = load(x_D + i, lanes);
        for (int64_t row = 0; row < 4; ++row) __builtin_prefetch(next + row * width + i);
        s0 += load(w0 + i, lanes) * x;
        s1 += load(w1 + i, lanes) * x;
        s2 += load(w2 + i, lanes) * x;
        s3 += load(w3 + i, lanes) * x;
      });
      float* to = vectors + four * kLanes;
      store(to, s0);
      store(to + kLanes, s1);
      store(to + 2 * kLanes, s2);
      store(to + 3 * kLanes, s3);
    }
    store(totals, sums_of_lanes(vectors));
    std::copy_n(totals, kLanes, y_E + e);
  }
  for (; e < end; ++e) ProductBlock<1>::multiply<1>(weight_ED + e * width, x_D, width, y_E + e, 0);
}

using ProductRows = void (*)(const float*, const float*, int64_t, float*, int64_t, int64_t, int64_t);
constexpr std::array<ProductRows, kMatrixRows> kProductRows = {
    nullptr,
    one_product_row,
    ProductBlock<2>::rows,
    ProductBlock<3>::rows,
    ProductBlock<4>::rows,
    ProductBlock<5>::rows,
    ProductBlock<6>::rows,
    ProductBlock<7>::rows,
};

template <bool all>
F32x16 load_lanes(const float* p, int64_t lanes) {
  if constexpr (all) return load(p);
  return load_part(p, lanes);
}

// Keys or values of rows that lie `stride` floats apart, side by side for the heads.
struct HeadRows {
  const float* keys;
  const float* values;
  int64_t stride;
  int64_t count;
  int64_t head_width;
  int64_t group;  // query heads that share a key
};

// Softmax attention of the heads [first, last) of one query. All of them read a few rows before the next few, so that
// the rows come from memory once and in order. out may be the query itself. `all`: the head width is a multiple of 16.
template <bool all>
void attend_heads(const float* query_Hd, const HeadRows& rows, int64_t first, int64_t last, float* out_Hd) {
  const int64_t width = rows.head_width, padded = (rows.count + kLanes - 1) / kLanes * kLanes;
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  thread_local std::vector<float> memory;
  memory.resize(static_cast<size_t>((last - first) * padded));
  const auto scores_of = [&](int64_t h) { return memory.data() + (h - first) * padded; };
  const auto lanes_at = [&](int64_t i) { return std::min(kLanes, width - i); };

  alignas(64) float products[kLanes * kLanes];
  for (int64_t block = 0; block < rows.count; block += kLanes) {
    const int64_t here = std::min(kLanes, rows.count - block);
    for (int64_t h = first; h < last; ++h) {
      const float* key = rows.keys + block * rows.stride + h / rows.group * width;
      const float* query = query_Hd + h * width;
      for (int64_t row = 0; row < here; ++row, key += rows.stride) {
        F32x16 sum{};
        for (int64_t i = 0; i < width; i += kLanes) {
          sum += load_lanes<all>(key + i, lanes_at(i)) * load_lanes<all>(query + i, lanes_at(i));
        }
        store(products + row * kLanes, sum);
      }
      std::fill(products + here * kLanes, products + kLanes * kLanes, 0.0F);
      store(scores_of(h) + block, sums_of_lanes(products) * scale);
    }
  }
  for (int64_t h = first; h < last; ++h) {
    float* scores = scores_of(h);
    const float top = *std::max_element(scores, scores + rows.count);
    std::fill(scores + rows.count, scores + padded, -INFINITY);
    F32x16 total{};
    for (int64_t block = 0; block < padded; block += kLanes) {
      const F32x16 weight = exp(load(scores + block) - top);
      total += weight;
      store(scores + block, weight);
    }
    const F32x16 inverse = splat(1.0F / sum_of_lanes(total));
    for (int64_t block = 0; block < padded; block += kLanes) store(scores + block, load(scores + block) * inverse);
    std::fill_n(out_Hd + h * width, width, 0.0F);
  }
  for (int64_t block = 0; block < rows.count; block += kLanes) {
    const int64_t here = std::min(kLanes, rows.count - block);
    for (int64_t h = first; h < last; ++h) {
      const float* weights = scores_of(h) + block;
      const float* value = rows.values + block * rows.stride + h / rows.group * width;
      for (int64_t i = 0; i < width; i += kLanes) {
        float* out = out_Hd + h * width + i;
        F32x16 sum = load_lanes<all>(out, lanes_at(i));
        for (int64_t row = 0; row < here; ++row) {
          sum += weights[row] * load_lanes<all>(value + row * rows.stride + i, lanes_at(i));
        }
        if constexpr (all) {
          store(out, sum);
        } else {
          store_part(out, sum, lanes_at(i));
        }
      }
    }
  }
}

// Softmax attention of R queries [R, H d], of which row r sees count_of(r) rows. out may be the queries themselves.
template <class CountOf>
void attend(const float* query_RHd, int64_t rows, int64_t heads, HeadRows seen, const CountOf& count_of,
            float* out_RHd) {
  const int64_t width = heads * seen.head_width;
  const auto work = [&](int64_t begin, int64_t end) {
    HeadRows here = seen;
    for (int64_t i = begin; i < end;) {
      const int64_t row = i / heads, first = i % heads, last = std::min(heads, first + end - i);
      const float* query = query_RHd + row * width;
      float* out = out_RHd + row * width;
      here.count = count_of(row);
      if (here.count == 0) {
        std::fill(out + first * seen.head_width, out + last * seen.head_width, 0.0F);
      } else if (seen.head_width % kLanes == 0) {
        attend_heads<true>(query, here, first, last, out);
      } else {
        attend_heads<false>(query, here, first, last, out);
      }
      i += last - first;
    }
  };
  if (2 * rows * width * seen.count < kParallelWork) {
    call_one_copy(work, int64_t{0}, rows * heads);
  } else {
    at::parallel_for(0, rows * heads, 1, [&](int64_t begin, int64_t end) { call_one_copy(work, begin, end); });
  }
}

}  // namespace

void multiply_rows(const float* x_RD, const float* weight_ED, float* y_RE, int64_t rows, int64_t width, int64_t out) {
  if (rows >= kMatrixRows) {
    const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat);
    const at::Tensor x = at::from_blob(const_cast<float*>(x_RD), {rows, width}, options);
    const at::Tensor weight = at::from_blob(const_cast<float*>(weight_ED), {out, width}, options);
    at::Tensor y = at::from_blob(y_RE, {rows, out}, options);
    at::mm_out(y, x, weight.t());
    return;
  }
  if (rows == 0) return;
  constexpr int64_t kGroup = 16;
  const auto work = [&](int64_t begin, int64_t end) {
    kProductRows[static_cast<size_t>(rows)](weight_ED, x_RD, width, y_RE, out, begin * kGroup,
                                            std::min(end * kGroup, out));
  };
  const int64_t groups = (out + kGroup - 1) / kGroup;
  if (rows * width * out < kParallelWork) {
    call_one_copy(work, int64_t{0}, groups);
  } else {
    at::parallel_for(0, groups, 4, [&](int64_t begin, int64_t end) { call_one_copy(work, begin, end); });
  }
}

void rms_norm_rows(const float* x_RD, const float* gain_D, float* y_RD, int64_t rows, int64_t width, double epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = x_RD + r * width;
    float* y = y_RD + r * width;
    const float scale = 1.0F / std::sqrt(dot(x, x, width) / static_cast<float>(width) + static_cast<float>(epsilon));
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) y[i] = x[i] * scale * gain_D[i];
  }
}

namespace {

struct Moments {
  float mean, scale;  // scale: rsqrt(variance + epsilon)
};

Moments moments_of(const float* x, int64_t width, double epsilon) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(width);
  for (int64_t i = 0; i < width; ++i) {
    const double difference = static_cast<double>(x[i]) - mean;
    squares += difference * difference;
  }
  return {.mean = static_cast<float>(mean),
          .scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(width) + epsilon))};
}

}  // namespace

void layer_norm_rows(const float* x_RD, const float* gain_D, const float* shift_D, float* y_RD, int64_t rows,
                     int64_t width, double epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = x_RD + r * width;
    float* y = y_RD + r * width;
    const Moments moments = moments_of(x, width, epsilon);
    for (int64_t i = 0; i < width; ++i) {
      y[i] = (x[i] - moments.mean) * moments.scale * gain_D[i] + (shift_D == nullptr ? 0.0F : shift_D[i]);
    }
  }
}

void deviation_norm_rows(const float* x_RD, const float* gain_D, float* y_RD, int64_t rows, int64_t width,
                         double epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = x_RD + r * width;
    float* y = y_RD + r * width;
    const float scale = moments_of(x, width, epsilon).scale;
    for (int64_t i = 0; i < width; ++i) y[i] = x[i] * scale * gain_D[i];
  }
}

void gelu_rows(float* x, int64_t count) {
  constexpr float kInverseRoot2 = 0.70710678F;
  for (int64_t i = 0; i < count; ++i) x[i] *= 0.5F * (1 + std::erf(x[i] * kInverseRoot2));
}

void gelu_tanh_rows(float* x, int64_t count) {
  constexpr float kRootOf2OverPi = 0.79788456F;
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i];
    x[i] = 0.5F * value * (1 + std::tanh(kRootOf2OverPi * (value + 0.044715F * value * value * value)));
  }
}

void relu_rows(float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = std::max(x[i], 0.0F);
}

void silu_rows(float* x, int64_t count) {
  by_vectors(count, [&](int64_t i, auto lanes) {
    const F32x16 value = load(x + i, lanes);
    store(x + i, value * sigmoid(value), lanes);
  });
}

void swiglu_rows(const float* gate_up_R2F, float* y_RF, int64_t rows, int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* gate = gate_up_R2F + r * 2 * hidden;
    const float* up = gate + hidden;
    float* y = y_RF + r * hidden;
    by_vectors(hidden, [&](int64_t i, auto lanes) {
      const F32x16 value = load(gate + i, lanes);
      store(y + i, value * sigmoid(value) * load(up + i, lanes), lanes);
    });
  }
}

void add_rows(float* x, const float* y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) x[i] += y[i];
}

void rotate_heads(float* heads_Hd, int64_t heads, int64_t head_width, const float* cosine, const float* sine) {
  const int64_t half = head_width / 2;
  for (int64_t h = 0; h < heads; ++h) {
    float* low = heads_Hd + h * head_width;
    float* high = low + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = low[i], b = high[i];
      low[i] = a * cosine[i] - b * sine[i];
      high[i] = a * sine[i] + b * cosine[i];
    }
  }
}

void rotary_angles(int64_t position, std::span<const double> frequencies, float* cosine, float* sine) {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    cosine[i] = static_cast<float>(std::cos(angle));
    sine[i] = static_cast<float>(std::sin(angle));
  }
}

namespace {

void append_row(AttentionCache& cache, const float* key_Gd, const float* value_Gd, int64_t row_width, int64_t window) {
  cache.row_width = row_width;
  cache.window = window;
  const int64_t slot = window > 0 ? cache.rows % window : cache.rows;
  const size_t needed = static_cast<size_t>((slot + 1) * row_width);
  if (cache.keys.size() < needed) {
    const size_t grown = std::max(needed, std::min(2 * cache.keys.size(), needed + (size_t{1} << 22)));
    const size_t size = window > 0 ? std::min(grown, static_cast<size_t>(window * row_width)) : grown;
    cache.keys.resize(size);
    cache.values.resize(size);
  }
  std::copy_n(key_Gd, row_width, cache.keys.data() + slot * row_width);
  std::copy_n(value_Gd, row_width, cache.values.data() + slot * row_width);
  ++cache.rows;
}

}  // namespace

void attend_row(AttentionCache& cache, const float* query_Hd, const float* key_Gd, const float* value_Gd, float* out_Hd,
                int64_t heads, int64_t key_value_heads, int64_t head_width, int64_t window) {
  if (out_Hd != query_Hd) std::copy_n(query_Hd, heads * head_width, out_Hd);
  attend_stretch(cache, out_Hd, key_Gd, value_Gd, 1, heads, key_value_heads, head_width, window);
}

void attend_stretch(AttentionCache& cache, float* query_RHd, const float* key_RGd, const float* value_RGd, int64_t rows,
                    int64_t heads, int64_t key_value_heads, int64_t head_width, int64_t window) {
  const int64_t row_width = key_value_heads * head_width, width = heads * head_width;
  // A row of a ring that is full takes the place of one that the row before still sees.
  const int64_t together = window > 0 ? std::max<int64_t>(1, window - cache.rows) : rows;
  if (together < rows) {
    for (int64_t r = 0; r < rows; ++r) {
      attend_stretch(cache, query_RHd + r * width, key_RGd + r * row_width, value_RGd + r * row_width, 1, heads,
                     key_value_heads, head_width, window);
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    append_row(cache, key_RGd + r * row_width, value_RGd + r * row_width, row_width, window);
  }
  // The order of slots does not matter: rotary angles are in the keys already.
  attend(
      query_RHd, rows, heads,
      {.keys = cache.keys.data(),
       .values = cache.values.data(),
       .stride = row_width,
       .count = cache.rows,
       .head_width = head_width,
       .group = heads / key_value_heads},
      [&](int64_t row) {
        const int64_t seen = cache.rows - (rows - 1 - row);
        return window > 0 ? std::min(seen, window) : seen;
      },
      query_RHd);
}

void attend_rows(const float* query_QE, int64_t queries, const float* kv_K2E, int64_t keys, float* out_QE,
                 int64_t heads, int64_t head_width) {
  const int64_t width = heads * head_width;
  attend(
      query_QE, queries, heads,
      {.keys = kv_K2E,
       .values = kv_K2E + width,
       .stride = 2 * width,
       .count = keys,
       .head_width = head_width,
       .group = 1},
      [&](int64_t) { return keys; }, out_QE);
}

}  // namespace verbatim::nn
