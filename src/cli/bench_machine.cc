#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "cli/bench.h"
#include "cli/interruption.h"

namespace verbatim {
namespace {

// The shortest time of one call within about `seconds`, at least three calls.
template <class Action>
double best_seconds(double seconds, Action action) {
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  action();  // first touch of memory, start of threads
  double best = 1e300;
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < 3 || elapsed(begin) < seconds; ++i) {
    throw_if_interrupted();
    const Clock::time_point start = Clock::now();
    action();
    best = std::min(best, elapsed(start));
  }
  return best;
}

}  // namespace

double measure_matmul_flops(int64_t size, double seconds) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::ones({size, size}), b = at::ones({size, size});
  at::Tensor product = at::empty({size, size});
  const double best = best_seconds(seconds, [&] { at::mm_out(product, a, b); });
  return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) / best;
}

double measure_read_bytes_per_second(double seconds) {
  const at::NoGradGuard no_grad;
  // A matrix far larger than any cache times a vector: each weight is read once, as in stepwise generation.
  constexpr int64_t kRows = 16384, kColumns = 4096;
  const at::Tensor matrix = at::ones({kRows, kColumns}), vector = at::ones({kColumns});
  at::Tensor product = at::empty({kRows});
  const double best = best_seconds(seconds, [&] { at::mv_out(product, matrix, vector); });
  return static_cast<double>(kRows * kColumns * 4) / best;
}

std::vector<BenchFigure> bench_machine(const BenchOptions& options) {
  std::vector<BenchFigure> figures;
  const double large = measure_matmul_flops(1024, options.seconds);
  figures.push_back({.what = "matrix product 1024", .value = large / 1e9, .unit = "GFLOP/s"});
  for (const int64_t size : {128, 256, 512}) {
    const double rate = measure_matmul_flops(size, options.seconds);
    figures.push_back({.what = fmt::format("matrix product {}", size),
                       .value = rate / 1e9,
                       .unit = "GFLOP/s",
                       .reference = "matrix product 1024",
                       .ratio = rate / large});
  }
  figures.push_back({.what = "matrix times vector, 256 MiB",
                     .value = measure_read_bytes_per_second(options.seconds) / 1e9,
                     .unit = "GB/s"});
  return figures;
}

}  // namespace verbatim
