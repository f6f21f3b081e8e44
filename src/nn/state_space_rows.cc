#include "nn/state_space_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/decay.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/task_loop.h"

namespace verbatim::nn {

namespace {

// Below this many state values a second thread costs more than it brings.
constexpr int64_t kParallelWork = 1 << 16;

// log(1 + e^x).
void softplus_values(const float* x, float* y, int64_t count) {
  by_vectors(count, [&](int64_t i, auto lanes) { store(y + i, softplus(load(x + i, lanes)).value, lanes); });
}

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
    call_one_copy(f, int64_t{0}, count);
  } else {
    at::parallel_for(0, count, 1, [&f](int64_t begin, int64_t end) { call_one_copy(f, begin, end); });
  }
}

}  // namespace

void causal_convolution_rows(const float* x_RC, int64_t x_stride, const float* weight_CW, const float* bias_C,
                             float* window, float* y_RC, int64_t y_stride, int64_t rows, int64_t channels,
                             int64_t kernel_width, float* trail) {
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
    if (trail != nullptr) std::copy_n(window, channels * kept, trail + r * channels * kept);
  }
}

void selective_scan_rows(const float* x_RI, const float* step_RI, const float* log_decay_IS, const float* b_RS,
                         int64_t b_stride, const float* c_RS, int64_t c_stride, const float* skip_I, float* state_IS,
                         float* y_RI, int64_t rows, int64_t channels, int64_t state, float* trail_RIS) {
  const int64_t groups = (channels + kLanes - 1) / kLanes;
  for_parts(groups, rows * channels * state, [&](int64_t first_group, int64_t last_group) {
    thread_local std::vector<float> rate_GS;
    rate_GS.resize(static_cast<size_t>(kLanes * state));
    alignas(64) float sums[kLanes * kLanes], delta[kLanes];
    // Sixteen channels at a time, so that their sums are formed together; their states stay in the nearest cache.
    for (int64_t first = first_group * kLanes; first < std::min(channels, last_group * kLanes); first += kLanes) {
      const int64_t count = std::min(kLanes, channels - first);
      by_vectors(count * state, [&](int64_t n, auto lanes) {
        store(rate_GS.data() + n, exp(load(log_decay_IS + first * state + n, lanes)) * -kLog2E, lanes);
      });
      for (int64_t r = 0; r < rows; ++r) {
        const float* b = b_RS + r * b_stride;
        const float* c = c_RS + r * c_stride;
        const float* x = x_RI + r * channels + first;
        softplus_values(step_RI + r * channels + first, delta, count);
        for (int64_t i = 0; i < count; ++i) {
          float* s = state_IS + (first + i) * state;
          const float* rate = rate_GS.data() + i * state;
          const float input = delta[i] * x[i];
          const F32x16 delta_i = splat(delta[i]);
          F32x16 sum{};
          by_vectors(state, [&](int64_t n, auto lanes) {
            const F32x16 value =
                decay_of(delta_i, load(rate + n, lanes)) * load(s + n, lanes) + input * load(b + n, lanes);
            store(s + n, value, lanes);
            sum += value * load(c + n, lanes);
          });
          store(sums + i * kLanes, sum);
        }
        if (trail_RIS != nullptr) {
          std::copy_n(state_IS + first * state, count * state, trail_RIS + (r * channels + first) * state);
        }
        for (int64_t i = count; i < kLanes; ++i) store(sums + i * kLanes, F32x16{});
        const F32x16 totals = sums_of_lanes(sums);
        by_vectors(count, [&](int64_t i, auto lanes) {
          store(y_RI + r * channels + first + i, totals + load(skip_I + first + i, lanes) * load(x + i, lanes), lanes);
        });
      }
    }
  });
}

void state_space_rows(const float* x_RI, int64_t x_stride, const float* step_RH, int64_t step_stride,
                      const float* log_decay_H, const float* b_RE, int64_t b_stride, const float* c_RE,
                      int64_t c_stride, const float* skip_H, float* state_HPS, float* y_RI, int64_t y_stride,
                      int64_t rows, int64_t heads, int64_t head_width, int64_t groups, int64_t state,
                      float* trail_RHPS) {
  for_parts(heads, rows * heads * head_width * state, [&](int64_t first, int64_t last) {
    std::vector<float> delta_R(static_cast<size_t>(rows)), decay_R(static_cast<size_t>(rows));
    alignas(64) float sums[kLanes * kLanes];
    for (int64_t h = first; h < last; ++h) {
      const float rate = -std::exp(log_decay_H[h]);
      for (int64_t r = 0; r < rows; ++r) {
        softplus_values(step_RH + r * step_stride + h, &delta_R[r], 1);
        decay_R[r] = std::exp(delta_R[r] * rate);
      }
      const int64_t group = h / (heads / groups);
      // Sixteen columns of the head at a time, so that their sums are formed together; their states stay in the nearest
      // cache.
      for (int64_t p = 0; p < head_width; p += kLanes) {
        const int64_t column = h * head_width + p, count = std::min(kLanes, head_width - p);
        for (int64_t r = 0; r < rows; ++r) {
          const float* b = b_RE + r * b_stride + group * state;
          const float* c = c_RE + r * c_stride + group * state;
          const float* x = x_RI + r * x_stride + column;
          for (int64_t i = 0; i < count; ++i) {
            float* s = state_HPS + (column + i) * state;
            const float input = delta_R[r] * x[i];
            F32x16 sum{};
            by_vectors(state, [&](int64_t n, auto lanes) {
              const F32x16 value = decay_R[r] * load(s + n, lanes) + input * load(b + n, lanes);
              store(s + n, value, lanes);
              sum += value * load(c + n, lanes);
            });
            store(sums + i * kLanes, sum);
          }
          if (trail_RHPS != nullptr) {
            std::copy_n(state_HPS + column * state, count * state,
                        trail_RHPS + (r * heads * head_width + column) * state);
          }
          for (int64_t i = count; i < kLanes; ++i) store(sums + i * kLanes, F32x16{});
          const F32x16 totals = sums_of_lanes(sums);
          by_vectors(count, [&](int64_t i, auto lanes) {
            store(y_RI + r * y_stride + column + i, totals + skip_H[h] * load(x + i, lanes), lanes);
          });
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
