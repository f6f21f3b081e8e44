#include <algorithm>
#include <type_traits>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/kernels/sequence_tasks.h"
#include "nn/kernels/state_space.h"
#include "nn/kernels/state_space_checks.h"
#include "nn/kernels/task_loop.h"

// Fast form of causal_convolution: one pass over the rows, whose predecessors still lie in the cache. The backward pass
// computes the sum in front of silu again instead of reading it from memory.
namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Weight as [W, C], so that the weights of neighbouring channels are neighbours. `fixed`: W where it is known to the
// compiler, else 0.
template <int fixed>
struct Taps {
  const float* weight_WC;
  const float* bias_C;
  int64_t channels;
  int64_t any_width;

  [[nodiscard]] int64_t width() const { return fixed > 0 ? fixed : any_width; }
  [[nodiscard]] F32x16 weight(int64_t tap, int64_t i, auto lanes) const {
    return load(weight_WC + tap * channels + i, lanes);
  }

  // The sum in front of silu for `lanes` channels from `i` on; the row lies at `x`, `before` rows of its sequence (at
  // most W - 1 of them) in front of it.
  template <class T, class Lanes>
  F32x16 sum(const T* x, int64_t stride, int64_t before, int64_t i, Lanes lanes) const {
    F32x16 sum = load(bias_C + i, lanes);
    const auto add = [&](int64_t back) {
      sum += weight(width() - 1 - back, i, lanes) * load(x - back * stride + i, lanes);
    };
    if (fixed > 0 && before == fixed - 1) {
      for (int back = 0; back < fixed; ++back) add(back);
    } else {
      for (int64_t back = 0; back <= before; ++back) add(back);
    }
    return sum;
  }
};

// Calls f with Taps for the width, which is 4 in all published models.
template <class F>
void with_taps(const at::Tensor& weight_WC, const at::Tensor& bias_C, const F& f) {
  const auto taps = [&](auto fixed) {
    return Taps<decltype(fixed)::value>{weight_WC.data_ptr<float>(), bias_C.data_ptr<float>(), weight_WC.size(1),
                                        weight_WC.size(0)};
  };
  if (weight_WC.size(0) == 4) {
    f(taps(std::integral_constant<int, 4>{}));
  } else {
    f(taps(std::integral_constant<int, 0>{}));
  }
}

// Calls f(begin, end, first, last) for every sequence [first, last) that meets the rows [begin, end), with its part of
// them.
template <class F>
void for_sequences(const std::vector<int64_t>& offsets, int64_t begin, int64_t end, const F& f) {
  size_t s = std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin();
  for (int64_t first = begin; first < end; ++s) {
    const int64_t last = std::min(end, offsets[s]);
    if (first < last) f(first, last, offsets[s - 1], offsets[s]);
    first = last;
  }
}

template <class T, int fixed>
void convolve_rows(const Rows<const T>& x, const Taps<fixed>& taps, const std::vector<int64_t>& offsets, T* y_NC) {
  for_rows(offsets.back(), 2 * taps.channels, [&](int64_t begin, int64_t end) {
    for_sequences(offsets, begin, end, [&](int64_t first, int64_t last, int64_t start, int64_t /*stop*/) {
      for (int64_t t = first; t < last; ++t) {
        const int64_t before = std::min(taps.width() - 1, t - start);
        by_vectors(taps.channels, [&](int64_t i, auto lanes) {
          const F32x16 sum = taps.sum(x.row(t), x.stride, before, i, lanes);
          store(y_NC + t * taps.channels + i, sum * sigmoid(sum), lanes);
        });
      }
    });
  });
}

// Gradients of the weight [W, C] and, in the row behind it, of the bias: one partial sum [W + 1, C] for each block.
template <class T, int fixed>
struct ConvolutionGradient {
  const Rows<const T>& x;
  const Rows<const T>& dy;
  const Taps<fixed>& taps;
  T* dx_NC;
  float* partial;

  void run(const std::vector<int64_t>& offsets, const RowBlocks& blocks) const {
    for_rows(blocks.count, blocks.rows_per_block * taps.channels * 4, [&](int64_t first_block, int64_t last_block) {
      thread_local ScratchBuffer ring_memory;
      float* ring = ring_memory.get<float>(taps.width() * taps.channels);
      for (int64_t block = first_block; block < last_block; ++block) {
        float* sums = partial + block * (taps.width() + 1) * taps.channels;
        for_sequences(offsets, blocks.begin(block), blocks.end(block),
                      [&](int64_t first, int64_t last, int64_t start, int64_t stop) {
                        add(first, last, start, stop, ring, sums);
                      });
      }
    });
  }

 private:
  // Rows [first, last) of the sequence [start, stop). The gradient of the sum in front of silu is needed up to W - 1
  // rows further; `ring` [W, C] holds that of row t in row t mod W.
  void add(int64_t first, int64_t last, int64_t start, int64_t stop, float* ring, float* sums) const {
    const int64_t kept = taps.width() - 1;
    const int64_t end = std::min(stop, last + kept);
    int64_t next = first;  // the next row of dx
    for (int64_t t = first; t < end; ++t) {
      const int64_t before = std::min(kept, t - start);
      float* ring_row = ring + t % taps.width() * taps.channels;
      by_vectors(taps.channels, [&](int64_t i, auto lanes) {
        const F32x16 sum = taps.sum(x.row(t), x.stride, before, i, lanes);
        const F32x16 s = sigmoid(sum);
        const F32x16 d = load(dy.row(t) + i, lanes) * s * (1.0F + sum * (1.0F - s));
        store(ring_row + i, d, lanes);
        if (t < last) add_to_sums(t, before, d, sums, i, lanes);
      });
      if (t - kept >= first) write_row(next++, t + 1, ring);
    }
    while (next < last) write_row(next++, end, ring);
  }

  template <class Lanes>
  void add_to_sums(int64_t t, int64_t before, F32x16 d, float* sums, int64_t i, Lanes lanes) const {
    for (int64_t back = 0; back <= before; ++back) {
      float* sum = sums + (taps.width() - 1 - back) * taps.channels + i;
      store(sum, load(sum, lanes) + d * load(x.row(t - back) + i, lanes), lanes);
    }
    float* sum = sums + taps.width() * taps.channels + i;
    store(sum, load(sum, lanes) + d, lanes);
  }

  // Row t of dx from the rows [t, end) of the ring, W of them at most.
  void write_row(int64_t t, int64_t end, const float* ring) const {
    const int64_t channels = taps.channels, count = std::min(taps.width(), end - t), in_ring = t % taps.width();
    by_vectors(channels, [&](int64_t i, auto lanes) {
      F32x16 sum{};
      for (int64_t k = 0; k < count; ++k) {
        const int64_t row = in_ring + k < taps.width() ? in_ring + k : in_ring + k - taps.width();
        sum += taps.weight(taps.width() - 1 - k, i, lanes) * load(ring + row * channels + i, lanes);
      }
      store(dx_NC + t * channels + i, sum, lanes);
    });
  }
};

struct CausalConvolution : torch::autograd::Function<CausalConvolution> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const std::vector<int64_t>& offsets) {
    const at::Tensor x_NC = with_dense_rows(x);
    const at::Tensor weight_WC = weight.t().contiguous();
    const at::Tensor bias_C = bias.contiguous();
    at::Tensor y_NC = at::empty(x_NC.sizes(), x_NC.options());
    with_type(x_NC.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      with_taps(weight_WC, bias_C,
                [&](const auto& taps) { convolve_rows(Rows<const T>(x_NC), taps, offsets, y_NC.data_ptr<T>()); });
    });
    context->save_for_backward({x_NC, weight_WC, bias_C});
    context->saved_data["offsets"] = offsets;
    return y_NC;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    check_first_derivative("causal_convolution");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NC = saved[0], &weight_WC = saved[1], &bias_C = saved[2];
    const std::vector<int64_t> offsets = context->saved_data["offsets"].toIntVector();
    const at::Tensor dy_NC = with_dense_rows(gradients[0]);
    const int64_t width = weight_WC.size(0);
    const RowBlocks blocks{.rows = x_NC.size(0)};
    at::Tensor dx_NC = at::empty(x_NC.sizes(), x_NC.options());
    at::Tensor partial = at::zeros({blocks.count, width + 1, x_NC.size(1)}, weight_WC.options());
    with_type(x_NC.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const Rows<const T> x_rows(x_NC), dy_rows(dy_NC);
      with_taps(weight_WC, bias_C, [&]<int fixed>(const Taps<fixed>& taps) {
        ConvolutionGradient<T, fixed>{x_rows, dy_rows, taps, dx_NC.data_ptr<T>(), partial.data_ptr<float>()}.run(
            offsets, blocks);
      });
    });
    const at::Tensor sums = sum_in_order(partial);
    return {dx_NC, sums.narrow(0, 0, width).t().contiguous(), sums[width].clone(), {}};
  }
};

}  // namespace

at::Tensor causal_convolution(const at::Tensor& x_NC, const at::Tensor& weight_CW, const at::Tensor& bias_C,
                              const Sequences& sequences) {
  check_causal_convolution(x_NC, weight_CW, bias_C, sequences);
  if (!is_fast(x_NC) || !is_fast_float(weight_CW) || !is_fast_float(bias_C)) {
    return causal_convolution_plain(x_NC, weight_CW, bias_C, sequences);
  }
  return CausalConvolution::apply(x_NC, weight_CW, bias_C, sequences.offsets);
}

}  // namespace verbatim::nn
