#include "nn/kernels/adamw.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/kernels/cpu_common.h"
#include "nn/kernels/lanes.h"
#include "nn/torch.h"

namespace verbatim::nn {

namespace {

// Values per piece of work: large enough to hide the cost of handing it out, small enough to balance threads.
constexpr int64_t kBlockValues = 1 << 14;

using F32x8 = Vector<float, 8>;
using F64x8 = Vector<double, 8>;

// Piece of one tensor.
struct Block {
  size_t tensor;
  int64_t begin;
  int64_t end;
};

template <class SizeOf>
std::vector<Block> cut(size_t num_tensors, SizeOf&& size_of) {
  std::vector<Block> blocks;
  for (size_t tensor = 0; tensor < num_tensors; ++tensor) {
    const int64_t size = size_of(tensor);
    for (int64_t begin = 0; begin < size; begin += kBlockValues) {
      blocks.push_back({.tensor = tensor, .begin = begin, .end = std::min(size, begin + kBlockValues)});
    }
  }
  return blocks;
}

void check(const AdamWTensor& each) {
  for (const at::Tensor* other : {&each.gradient, &each.first_moment, &each.second_moment}) {
    VERBATIM_ASSERT(other->defined() && other->sizes() == each.weight.sizes(),
                    "adamw: gradient and moments must have the weight's shape");
    VERBATIM_ASSERT(other->scalar_type() == each.weight.scalar_type() && other->device() == each.weight.device(),
                    "adamw: gradient and moments must have the weight's type and device");
  }
}

bool is_fast(const AdamWTensor& each) {
  return is_fast_float(each.weight) && each.weight.is_contiguous() && each.gradient.is_contiguous() &&
         each.first_moment.is_contiguous() && each.second_moment.is_contiguous();
}

struct Corrections {
  double first;
  double second;
};

Corrections corrections(const AdamWStep& step) {
  VERBATIM_ASSERT(step.step >= 1, "adamw: steps count from 1, got {}", step.step);
  return {.first = 1 - std::pow(step.beta1, static_cast<double>(step.step)),
          .second = 1 - std::pow(step.beta2, static_cast<double>(step.step))};
}

struct Pointers {
  float* weight;
  const float* gradient;
  float* first;
  float* second;
  float keep;  // 1 - rate * weight_decay
  float rate;  // with the first correction: rate / (1 - beta1^t)
};

}  // namespace

void adamw_update_plain(std::vector<AdamWTensor>& tensors, const AdamWStep& step) {
  const at::NoGradGuard no_grad;
  const Corrections correction = corrections(step);
  for (AdamWTensor& each : tensors) {
    check(each);
    const double rate = step.learning_rate * each.learning_rate_factor;
    const at::Tensor gradient = each.gradient * step.gradient_scale;
    each.first_moment.mul_(step.beta1).add_(gradient, 1 - step.beta1);
    each.second_moment.mul_(step.beta2).addcmul_(gradient, gradient, 1 - step.beta2);
    const at::Tensor direction =
        (each.first_moment / correction.first) / ((each.second_moment / correction.second).sqrt() + step.epsilon);
    each.weight.mul_(1 - rate * each.weight_decay).sub_(direction, rate);
  }
}

void adamw_update(std::vector<AdamWTensor>& tensors, const AdamWStep& step) {
  if (!std::all_of(tensors.begin(), tensors.end(), [](const AdamWTensor& each) { return is_fast(each); })) {
    adamw_update_plain(tensors, step);
    return;
  }
  const Corrections correction = corrections(step);
  std::vector<Pointers> pointers;
  pointers.reserve(tensors.size());
  for (AdamWTensor& each : tensors) {
    check(each);
    const double rate = step.learning_rate * each.learning_rate_factor;
    pointers.push_back({.weight = each.weight.data_ptr<float>(),
                        .gradient = each.gradient.data_ptr<float>(),
                        .first = each.first_moment.data_ptr<float>(),
                        .second = each.second_moment.data_ptr<float>(),
                        .keep = static_cast<float>(1 - rate * each.weight_decay),
                        .rate = static_cast<float>(rate / correction.first)});
  }
  const std::vector<Block> blocks = cut(tensors.size(), [&](size_t tensor) { return tensors[tensor].weight.numel(); });

  const auto gradient_scale = static_cast<float>(step.gradient_scale);
  const auto beta1 = static_cast<float>(step.beta1);
  const auto beta2 = static_cast<float>(step.beta2);
  const auto rest1 = static_cast<float>(1 - step.beta1);
  const auto rest2 = static_cast<float>(1 - step.beta2);
  const auto root_factor = static_cast<float>(1 / std::sqrt(correction.second));
  const auto epsilon = static_cast<float>(step.epsilon);
  for_rows(static_cast<int64_t>(blocks.size()), kBlockValues, [&](int64_t first_block, int64_t last_block) {
    for (int64_t b = first_block; b < last_block; ++b) {
      const Block& block = blocks[b];
      const Pointers& p = pointers[block.tensor];
      by_vectors(block.end - block.begin, [&](int64_t offset, auto lanes) {
        const int64_t i = block.begin + offset;
        const F32x16 gradient = load(p.gradient + i, lanes) * gradient_scale;
        const F32x16 first = load(p.first + i, lanes) * beta1 + gradient * rest1;
        const F32x16 second = load(p.second + i, lanes) * beta2 + gradient * gradient * rest2;
        store(p.first + i, first, lanes);
        store(p.second + i, second, lanes);
        const F32x16 direction = first / (square_root(second) * root_factor + epsilon);
        store(p.weight + i, load(p.weight + i, lanes) * p.keep - direction * p.rate, lanes);
      });
    }
  });
  for (AdamWTensor& each : tensors) {
    each.weight.unsafeGetTensorImpl()->bump_version();
    each.first_moment.unsafeGetTensorImpl()->bump_version();
    each.second_moment.unsafeGetTensorImpl()->bump_version();
  }
}

double global_norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> kept;
  kept.reserve(gradients.size());
  double sum = 0;
  for (const at::Tensor& gradient : gradients) {
    VERBATIM_ASSERT(gradient.defined(), "global_norm: a gradient is missing");
    if (is_fast_float(gradient)) {
      kept.push_back(gradient.contiguous());
    } else {
      sum += gradient.to(at::kDouble).square().sum().item<double>();
    }
  }
  const std::vector<Block> blocks = cut(kept.size(), [&](size_t tensor) { return kept[tensor].numel(); });
  std::vector<double> partial(blocks.size());
  for_rows(static_cast<int64_t>(blocks.size()), kBlockValues, [&](int64_t first_block, int64_t last_block) {
    for (int64_t b = first_block; b < last_block; ++b) {
      const Block& block = blocks[b];
      const float* values = kept[block.tensor].data_ptr<float>() + block.begin;
      const int64_t count = block.end - block.begin;
      // Squares in double: float32 would lose digits, and its range ends at the square of 1e19.
      F64x8 sums[2] = {};
      int64_t i = 0;
      for (; i + kLanes <= count; i += kLanes) {
        for (int half = 0; half < 2; ++half) {
          const auto wide = convert<F64x8>(load_as<F32x8>(values + i + half * 8));
          sums[half] += wide * wide;
        }
      }
      double total = 0;
      for (; i < count; ++i) total += static_cast<double>(values[i]) * static_cast<double>(values[i]);
      double lanes[8];
      store_all(lanes, sums[0] + sums[1]);
      for (const double lane : lanes) total += lane;
      partial[b] = total;
    }
  });
  for (const double each : partial) sum += each;
  return std::sqrt(sum);
}

}  // namespace verbatim::nn
