#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/adamw.h"
#include "nn/kernels/dense.h"

// The dense kernels against what the machine can do. Passes over memory: "bytes" are the least that must be read and
// written, "of_memcpy" is their rate over that of a copy of the same size measured in this run. Products: "of_product"
// is the rate over that of one 1024 x 1024 x 1024 product through LibTorch in the same type, measured in this run.
// Processor time of one thread: other programs on the machine disturb it less than the wall clock.
namespace verbatim::nn {
namespace {

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double best_seconds(const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 6; ++repeat) {
    const double start = thread_seconds();
    work();
    best = std::min(best, thread_seconds() - start);
  }
  return best;
}

// Bytes read and written per second by memcpy, moving `bytes` in all.
double copy_rate(int64_t bytes) {
  std::vector<char> from(static_cast<size_t>(bytes / 2), 1);
  std::vector<char> to(from.size());
  return static_cast<double>(bytes) / best_seconds([&] {
           std::memcpy(to.data(), from.data(), from.size());
           benchmark::ClobberMemory();
         });
}

double product_rate(at::ScalarType type) {
  const at::Tensor a = at::randn({1024, 1024}).to(type);
  return 2.0 * 1024 * 1024 * 1024 / best_seconds([&] { benchmark::DoNotOptimize(at::mm(a, a)); });
}

void pass_over_memory(benchmark::State& state, int64_t bytes, const std::function<void()>& work) {
  work();
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const double start = thread_seconds();
    work();
    best = std::min(best, thread_seconds() - start);
  }
  const double rate = static_cast<double>(bytes) / best;
  state.counters["GB/s"] = rate * 1e-9;
  state.counters["of_memcpy"] = rate / copy_rate(bytes);
}

void product(benchmark::State& state, int64_t operations, at::ScalarType type, const std::function<void()>& work) {
  work();
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const double start = thread_seconds();
    work();
    best = std::min(best, thread_seconds() - start);
  }
  const double rate = static_cast<double>(operations) / best;
  state.counters["GFLOP/s"] = rate * 1e-9;
  state.counters["of_product"] = rate / product_rate(type);
}

constexpr int64_t kRows = 8192;
constexpr int64_t kWidth = 256;

at::Tensor leaf(at::IntArrayRef sizes, at::ScalarType type = at::kFloat) {
  return at::randn(sizes).to(type).requires_grad_(true);
}

// Backward alone: the graph is built once and gone through again and again.
void backward(benchmark::State& state, int64_t bytes, const at::Tensor& output, const std::vector<at::Tensor>& inputs) {
  const at::Tensor gradient = at::randn(output.sizes()).to(output.scalar_type());
  pass_over_memory(state, bytes, [&] {
    benchmark::DoNotOptimize(torch::autograd::grad({output}, inputs, {gradient}, /*retain_graph=*/true));
  });
}

void adamw(benchmark::State& state) {
  const int64_t size = state.range(0);
  std::vector<AdamWTensor> tensors = {{.weight = at::randn({size}),
                                       .gradient = at::randn({size}),
                                       .first_moment = at::zeros({size}),
                                       .second_moment = at::zeros({size}),
                                       .weight_decay = 0.1}};
  pass_over_memory(state, size * 28, [&] { adamw_update(tensors, {.step = 3}); });
}

void gradient_norm(benchmark::State& state) {
  const at::Tensor gradient = at::randn({state.range(0)});
  pass_over_memory(state, gradient.numel() * 4, [&] { benchmark::DoNotOptimize(global_norm({gradient})); });
}

void add_rms_norm_forward(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor residual = at::randn({kRows, kWidth});
  const at::Tensor delta = residual.to(at::kBFloat16);
  const at::Tensor gain = at::ones({kWidth});
  pass_over_memory(state, kRows * kWidth * 12,
                   [&] { benchmark::DoNotOptimize(add_rms_norm(residual, delta, gain, 1e-5, at::kBFloat16)); });
}

void add_rms_norm_backward(benchmark::State& state) {
  const at::Tensor residual = leaf({kRows, kWidth});
  const at::Tensor delta = leaf({kRows, kWidth}, at::kBFloat16);
  const at::Tensor gain = leaf({kWidth});
  backward(state, kRows * kWidth * 12, add_rms_norm(residual, delta, gain, 1e-5, at::kBFloat16).second,
           {residual, delta, gain});
}

void swiglu_forward(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor gate_up = at::randn({kRows, 4 * kWidth}).to(at::kBFloat16);
  pass_over_memory(state, gate_up.numel() * 3, [&] { benchmark::DoNotOptimize(swiglu(gate_up)); });
}

void swiglu_backward(benchmark::State& state) {
  const at::Tensor gate_up = leaf({kRows, 4 * kWidth}, at::kBFloat16);
  backward(state, gate_up.numel() * 5, swiglu(gate_up), {gate_up});
}

void cross_entropy_forward(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const int64_t symbols = state.range(0);
  const at::Tensor logits = at::randn({(kRows << 8) / symbols, symbols}).to(at::kBFloat16);
  const at::Tensor targets = at::randint(0, symbols, {logits.size(0)}, at::kLong);
  pass_over_memory(state, logits.numel() * 2, [&] { benchmark::DoNotOptimize(cross_entropy(logits, targets)); });
}

void cross_entropy_backward(benchmark::State& state) {
  const int64_t symbols = state.range(0);
  const at::Tensor logits = leaf({(kRows << 8) / symbols, symbols}, at::kBFloat16);
  const at::Tensor targets = at::randint(0, symbols, {logits.size(0)}, at::kLong);
  backward(state, logits.numel() * 4, cross_entropy(logits, targets), {logits});
}

void gather_sum_forward(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor table = at::randn({state.range(0), 128});
  const at::Tensor index = at::randint(0, table.size(0), {kRows, 4}, at::kLong);
  pass_over_memory(state, kRows * 128 * 4 * 5, [&] { benchmark::DoNotOptimize(gather_sum(table, index)); });
}

void gather_sum_backward(benchmark::State& state) {
  const at::Tensor table = leaf({state.range(0), 128});
  const at::Tensor index = at::randint(0, table.size(0), {kRows, 4}, at::kLong);
  backward(state, (kRows * 4 + table.size(0)) * 128 * 4, gather_sum(table, index), {table});
}

void pool_rows_forward(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({kRows, kWidth}).to(at::kBFloat16);
  std::vector<int64_t> offsets;
  for (int64_t n = 0; n <= kRows; n += 4) offsets.push_back(n);
  const Pool pool = state.range(0) == 0 ? Pool::kMean : Pool::kMax;
  pass_over_memory(state, kRows * kWidth * 5 / 2, [&] { benchmark::DoNotOptimize(pool_rows(x, offsets, pool)); });
}

// N, D, E
void linear_forward(benchmark::State& state, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({state.range(0), state.range(1)}).to(type);
  const at::Tensor weight = at::randn({state.range(2), state.range(1)});
  product(state, 2 * state.range(0) * state.range(1) * state.range(2), type,
          [&] { benchmark::DoNotOptimize(nn::linear(x, weight)); });
}

void linear_backward(benchmark::State& state, at::ScalarType type) {
  const at::Tensor x = leaf({state.range(0), state.range(1)}, type);
  const at::Tensor weight = leaf({state.range(2), state.range(1)});
  const at::Tensor y = nn::linear(x, weight);
  const at::Tensor dy = at::randn(y.sizes()).to(type);
  product(state, 4 * state.range(0) * state.range(1) * state.range(2), type, [&] {
    benchmark::DoNotOptimize(torch::autograd::grad({y}, {x, weight}, {dy}, /*retain_graph=*/true));
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({8192, 128, 384})
      ->Args({8192, 128, 704})
      ->Args({8192, 256, 1024})
      ->Args({4096, 512, 512})
      ->Args({4096, 1024, 1024});
}

BENCHMARK(adamw)->Arg(1 << 16)->Arg(1 << 22);
BENCHMARK(gradient_norm)->Arg(1 << 22);
BENCHMARK(add_rms_norm_forward);
BENCHMARK(add_rms_norm_backward);
BENCHMARK(swiglu_forward);
BENCHMARK(swiglu_backward);
BENCHMARK(cross_entropy_forward)->Arg(256)->Arg(32000);
BENCHMARK(cross_entropy_backward)->Arg(256)->Arg(32000);
BENCHMARK(gather_sum_forward)->Arg(256)->Arg(50000);
BENCHMARK(gather_sum_backward)->Arg(256)->Arg(50000);
BENCHMARK(pool_rows_forward)->Arg(0)->Arg(1);
BENCHMARK_CAPTURE(linear_forward, bfloat16, at::kBFloat16)->Apply(shapes);
BENCHMARK_CAPTURE(linear_backward, bfloat16, at::kBFloat16)->Apply(shapes);
BENCHMARK_CAPTURE(linear_forward, float32, at::kFloat)->Args({4096, 256, 256});
BENCHMARK_CAPTURE(linear_backward, float32, at::kFloat)->Args({4096, 256, 256});

}  // namespace
}  // namespace verbatim::nn

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
