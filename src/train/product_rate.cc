#include "train/product_rate.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "nn/torch.h"

namespace verbatim {

double measure_product_rate(at::ScalarType type, const at::Device& device, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const torch::NoGradGuard no_grad;
  // A CPU is at its limit with the smaller size, a GPU needs the larger one.
  const int64_t size = device.is_cuda() ? 8192 : 1024;
  const at::Tensor a = at::ones({size, size}, at::TensorOptions(device).dtype(type));
  at::Tensor product = at::empty_like(a);
  const auto multiply = [&] {
    at::mm_out(product, a, a);
    if (device.is_cuda()) torch::cuda::synchronize();
  };
  multiply();  // first touch of memory, start of threads
  double best = std::numeric_limits<double>::infinity();
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < 3 || seconds_since(begin) < seconds; ++i) {
    const Clock::time_point start = Clock::now();
    multiply();
    best = std::min(best, seconds_since(start));
  }
  const auto n = static_cast<double>(size);
  return 2 * n * n * n / best;
}

}  // namespace verbatim
