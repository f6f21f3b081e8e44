#include "nn/rows_cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/vector_math.h"

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

// Four dot products at once read x once and keep four streams of the weight in flight. Rows are short beside what
// memory takes to answer, so the four rows behind these are asked for meanwhile.
void dot4(const float* w, int64_t stride, const float* x, int64_t count, float* y) {
  const float *w0 = w, *w1 = w + stride, *w2 = w + 2 * stride, *w3 = w + 3 * stride;
  F32x16 s0{}, s1{}, s2{}, s3{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32x16 values = load(x + i);
    __builtin_prefetch(w0 + 4 * stride + i);
    __builtin_prefetch(w1 + 4 * stride + i);
    __builtin_prefetch(w2 + 4 * stride + i);
    __builtin_prefetch(w3 + 4 * stride + i);
    s0 += load(w0 + i) * values;
    s1 += load(w1 + i) * values;
    s2 += load(w2 + i) * values;
    s3 += load(w3 + i) * values;
  }
  y[0] = sum_of_lanes(s0), y[1] = sum_of_lanes(s1), y[2] = sum_of_lanes(s2), y[3] = sum_of_lanes(s3);
  for (; i < count; ++i) {
    y[0] += w0[i] * x[i];
    y[1] += w1[i] * x[i];
    y[2] += w2[i] * x[i];
    y[3] += w3[i] * x[i];
  }
}

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

void attend(const float* query_Hd, const HeadRows& rows, int64_t heads, float* out_Hd) {
  if (rows.count == 0) {
    std::fill_n(out_Hd, heads * rows.head_width, 0.0F);
    return;
  }
  const auto work = [&](int64_t first, int64_t last) {
    if (rows.head_width % kLanes == 0) {
      attend_heads<true>(query_Hd, rows, first, last, out_Hd);
    } else {
      attend_heads<false>(query_Hd, rows, first, last, out_Hd);
    }
  };
  if (2 * rows.count * heads * rows.head_width < kParallelWork) {
    work(0, heads);
  } else {
    at::parallel_for(0, heads, 1, work);
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
  const int64_t groups = (out + 3) / 4;
  const auto work = [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t e = g * 4;
      for (int64_t r = 0; r < rows; ++r) {
        const float* x = x_RD + r * width;
        float* y = y_RE + r * out + e;
        if (e + 4 <= out) {
          dot4(weight_ED + e * width, width, x, width, y);
        } else {
          for (int64_t i = 0; e + i < out; ++i) y[i] = dot(weight_ED + (e + i) * width, x, width);
        }
      }
    }
  };
  if (rows * width * out < kParallelWork) {
    work(0, groups);
  } else {
    at::parallel_for(0, groups, 64, work);
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
  for (int64_t i = 0; i < count; ++i) x[i] /= 1.0F + std::exp(-x[i]);
}

void swiglu_rows(const float* gate_up_R2F, float* y_RF, int64_t rows, int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* gate = gate_up_R2F + r * 2 * hidden;
    const float* up = gate + hidden;
    float* y = y_RF + r * hidden;
    for (int64_t i = 0; i < hidden; ++i) y[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
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

void attend_row(AttentionCache& cache, const float* query_Hd, const float* key_Gd, const float* value_Gd, float* out_Hd,
                int64_t heads, int64_t key_value_heads, int64_t head_width, int64_t window) {
  const int64_t row_width = key_value_heads * head_width;
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
  // The order of slots does not matter: rotary angles are in the keys already.
  const int64_t visible = window > 0 ? std::min(cache.rows, window) : cache.rows;
  const int64_t group = heads / key_value_heads;
  attend(query_Hd,
         {.keys = cache.keys.data(),
          .values = cache.values.data(),
          .stride = row_width,
          .count = visible,
          .head_width = head_width,
          .group = group},
         heads, out_Hd);
}

void attend_rows(const float* query_QE, int64_t queries, const float* kv_K2E, int64_t keys, float* out_QE,
                 int64_t heads, int64_t head_width) {
  const int64_t width = heads * head_width;
  const HeadRows rows{.keys = kv_K2E,
                      .values = kv_K2E + width,
                      .stride = 2 * width,
                      .count = keys,
                      .head_width = head_width,
                      .group = 1};
  for (int64_t q = 0; q < queries; ++q) attend(query_QE + q * width, rows, heads, out_QE + q * width);
}

}  // namespace verbatim::nn
