#include "nn/state_space_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/decay.h"
#include "nn/kernels/lanes.h"

namespace verbatim::nn {

namespace {

// Below this many state values a second thread costs more than it brings.
constexpr int64_t kParallelWork = 1 << 16;

// log(1 + e^x); x itself where the difference is below the rounding of float32, as the plain forms do.
float softplus(float x) { return x > 20.0F ? x : std::log1p(std::exp(x)); }

void silu_values(float* x, int64_t count) {
  by_vectors(count, [&](int64_t i, auto lanes) {
    const F32x16 v = load(x + i, lanes);
    store(x + i, v * sigmoid(v), lanes);
  });
}

// f(begin, end) over ranges of `count` parts, in one piece where the work is small.
template <class F>
void for_parts(int64_t count, int64_t work, const F& f) {
  if (work < kParallelWork) {
    f(0, count);
  } else {
    at::parallel_for(0, count, 1, f);
  }
}

}  // namespace

void causal_convolution_rows(const float* x_RC, int64_t x_stride, const float* weight_CW, const float* bias_C,
                             float* window, float* y_RC, int64_t y_stride, int64_t rows, int64_t channels,
                             int64_t kernel_width) {
  const int64_t kept = kernel_width - 1;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = x_RC + r * x_stride;
    float* y = y_RC + r * y_stride;
    for (int64_t c = 0; c < channels; ++c) {
      const float* weight = weight_CW + c * kernel_width;
      float* before = window + c * kept;
      const float newest = x[c];
      float sum = bias_C[c] + weight[kept] * newest;
      for (int64_t k = 0; k < kept; ++k) sum += weight[k] * before[k];
      for (int64_t k = 0; k + 1 < kept; ++k) before[k] = before[k + 1];
      if (kept > 0) before[kept - 1] = newest;
      y[c] = sum;
    }
    silu_values(y, channels);
  }
}

void selective_scan_rows(const float* x_RI, const float* step_RI, const float* log_decay_IS, const float* b_RS,
                         int64_t b_stride, const float* c_RS, int64_t c_stride, const float* skip_I, float* state_IS,
                         float* y_RI, int64_t rows, int64_t channels, int64_t state) {
  for_parts(channels, rows * channels * state, [&](int64_t first, int64_t last) {
    std::vector<float> rate_S(static_cast<size_t>(state));
    for (int64_t i = first; i < last; ++i) {
      float* s = state_IS + i * state;
      by_vectors(state, [&](int64_t n, auto lanes) {
        store(rate_S.data() + n, exp(load(log_decay_IS + i * state + n, lanes)) * -kLog2E, lanes);
      });
      for (int64_t r = 0; r < rows; ++r) {
        const float* b = b_RS + r * b_stride;
        const float* c = c_RS + r * c_stride;
        const float x = x_RI[r * channels + i];
        const float delta = softplus(step_RI[r * channels + i]);
        const float input = delta * x;
        F32x16 sum{};
        by_vectors(state, [&](int64_t n, auto lanes) {
          const F32x16 decay = decay_of(splat(delta), load(rate_S.data() + n, lanes));
          const F32x16 value = decay * load(s + n, lanes) + input * load(b + n, lanes);
          store(s + n, value, lanes);
          sum += value * load(c + n, lanes);
        });
        y_RI[r * channels + i] = sum_of_lanes(sum) + skip_I[i] * x;
      }
    }
  });
}

void state_space_rows(const float* x_RI, int64_t x_stride, const float* step_RH, int64_t step_stride,
                      const float* log_decay_H, const float* b_RE, int64_t b_stride, const float* c_RE,
                      int64_t c_stride, const float* skip_H, float* state_HPS, float* y_RI, int64_t y_stride,
                      int64_t rows, int64_t heads, int64_t head_width, int64_t groups, int64_t state) {
  for_parts(heads, rows * heads * head_width * state, [&](int64_t first, int64_t last) {
    std::vector<float> delta_R(static_cast<size_t>(rows)), decay_R(static_cast<size_t>(rows));
    for (int64_t h = first; h < last; ++h) {
      const float rate = -std::exp(log_decay_H[h]);
      for (int64_t r = 0; r < rows; ++r) {
        delta_R[r] = softplus(step_RH[r * step_stride + h]);
        decay_R[r] = std::exp(delta_R[r] * rate);
      }
      const int64_t group = h / (heads / groups);
      for (int64_t p = 0; p < head_width; ++p) {
        const int64_t column = h * head_width + p;
        float* s = state_HPS + column * state;
        for (int64_t r = 0; r < rows; ++r) {
          const float* b = b_RE + r * b_stride + group * state;
          const float* c = c_RE + r * c_stride + group * state;
          const float x = x_RI[r * x_stride + column];
          const float input = delta_R[r] * x;
          F32x16 sum{};
          by_vectors(state, [&](int64_t n, auto lanes) {
            const F32x16 value = decay_R[r] * load(s + n, lanes) + input * load(b + n, lanes);
            store(s + n, value, lanes);
            sum += value * load(c + n, lanes);
          });
          y_RI[r * y_stride + column] = sum_of_lanes(sum) + skip_H[h] * x;
        }
      }
    }
  });
}

void gated_rms_norm_rows(const float* x_RI, const float* gate_RI, int64_t gate_stride, const float* gain_I, float* y_RI,
                         int64_t rows, int64_t width, int64_t groups, double epsilon) {
  const int64_t part = width / groups;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const float* x = x_RI + r * width + g * part;
      const float* gate = gate_RI + r * gate_stride + g * part;
      const float* gain = gain_I + g * part;
      float* y = y_RI + r * width + g * part;
      F32x16 squares{};
      by_vectors(part, [&](int64_t i, auto lanes) {
        const F32x16 z = load(gate + i, lanes);
        const F32x16 gated = load(x + i, lanes) * z * sigmoid(z);
        store(y + i, gated, lanes);
        squares += gated * gated;
      });
      const float mean = sum_of_lanes(squares) / static_cast<float>(part);
      const float scale = 1.0F / std::sqrt(mean + static_cast<float>(epsilon));
      by_vectors(part, [&](int64_t i, auto lanes) {
        store(y + i, load(y + i, lanes) * scale * load(gain + i, lanes), lanes);
      });
    }
  }
}

}  // namespace verbatim::nn
