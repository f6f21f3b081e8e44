#include "nn/rows_cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

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

// Four dot products at once read x from registers once and keep four streams of the weight in flight.
void dot4(const float* w, int64_t stride, const float* x, int64_t count, float* y) {
  const float *w0 = w, *w1 = w + stride, *w2 = w + 2 * stride, *w3 = w + 3 * stride;
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (int64_t i = 0; i < count; ++i) {
    s0 += w0[i] * x[i];
    s1 += w1[i] * x[i];
    s2 += w2[i] * x[i];
    s3 += w3[i] * x[i];
  }
  y[0] = s0, y[1] = s1, y[2] = s2, y[3] = s3;
}

// Softmax attention of one query over `count` keys that lie `stride` floats apart. out may be the query itself.
void attend_head(const float* query_d, const float* keys, const float* values, int64_t stride, int64_t count,
                 float* out_d, int64_t head_width) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_width));
  thread_local std::vector<float> scores;
  scores.resize(static_cast<size_t>(count));
  float top = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = dot(query_d, keys + j * stride, head_width) * scale;
    top = std::max(top, scores[j]);
  }
  float total = 0;
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - top);
    total += scores[j];
  }
  std::fill_n(out_d, head_width, 0.0F);
  for (int64_t j = 0; j < count; ++j) {
    const float weight = scores[j] / total;
    const float* value = values + j * stride;
#pragma omp simd
    for (int64_t i = 0; i < head_width; ++i) out_d[i] += weight * value[i];
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
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t column = (h / group) * head_width;
    attend_head(query_Hd + h * head_width, cache.keys.data() + column, cache.values.data() + column, row_width, visible,
                out_Hd + h * head_width, head_width);
  }
}

void attend_rows(const float* query_QE, int64_t queries, const float* kv_K2E, int64_t keys, float* out_QE,
                 int64_t heads, int64_t head_width) {
  const int64_t width = heads * head_width;
  for (int64_t q = 0; q < queries; ++q) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t column = h * head_width;
      attend_head(query_QE + q * width + column, kv_K2E + column, kv_K2E + width + column, 2 * width, keys,
                  out_QE + q * width + column, head_width);
    }
  }
}

}  // namespace verbatim::nn
