#include <benchmark/benchmark.h>

#include <chrono>
#include <fstream>
#include <string>

#include "base/random.h"
#include "nn/kernels/multi_label.h"
#include "nn/torch.h"

// T-Free's head and loss with gradients, 4,096 words of 64 ids against V = 32,000: the fused kernel beside its plain
// twin, which keeps the [words, V] tensors. "peak_MB" is what the process needed beyond what it held before the call,
// "of_product" the rate of the three products over that of one product of the same shapes measured in this run.
namespace verbatim::nn {
namespace {

constexpr int64_t kRows = 4096, kVocabulary = 32000, kIds = 64;

// A line of /proc/self/status in bytes.
int64_t memory_of(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  return 0;
}

// The peak is counted anew from here.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

TargetLists targets() {
  Random random(1);
  TargetLists lists;
  for (int64_t n = 0; n < kRows; ++n) {
    for (int64_t k = 0; k < kIds; ++k) {
      lists.ids.push_back(static_cast<int32_t>(k * (kVocabulary / kIds) + random.below(kVocabulary / kIds)));
    }
    lists.offsets.push_back(static_cast<int64_t>(lists.ids.size()));
  }
  return lists;
}

template <class Loss>
void run(benchmark::State& state, at::ScalarType type, const Loss& loss) {
  const int64_t width = state.range(0);
  at::Tensor h = at::randn({kRows, width}).to(type).requires_grad_(true);
  at::Tensor head = (at::randn({kVocabulary, width}) * 0.05).requires_grad_(true);
  const TargetLists lists = targets();
  const at::Tensor weight = at::ones({kRows});
  const at::Tensor other = head.detach().to(type), rows = h.detach();
  const auto seconds = [](const auto& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  (void)at::mm(rows, other.t());
  const double product = seconds([&] { benchmark::DoNotOptimize(at::mm(rows, other.t())); });
  int64_t peak = 0;
  double best = 1e300;
  for (auto _ : state) {
    h.mutable_grad() = at::Tensor();
    head.mutable_grad() = at::Tensor();
    const int64_t before = memory_of("VmRSS");
    reset_peak();
    best = std::min(best, seconds([&] { loss(h, head, lists, weight, 300.0).sum().backward(); }));
    peak = std::max(peak, memory_of("VmHWM") - before);
  }
  state.counters["peak_MB"] = static_cast<double>(peak) * 1e-6;
  state.counters["of_product"] = 3 * product / best;
}

void fused_float(benchmark::State& state) { run(state, at::kFloat, multi_label_loss); }
void plain_float(benchmark::State& state) { run(state, at::kFloat, multi_label_loss_plain); }
void fused_bfloat16(benchmark::State& state) { run(state, at::kBFloat16, multi_label_loss); }

BENCHMARK(fused_float)->Arg(192)->Arg(512)->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK(plain_float)->Arg(192)->Arg(512)->Iterations(2)->Unit(benchmark::kMillisecond);
BENCHMARK(fused_bfloat16)->Arg(192)->Arg(512)->Iterations(3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace verbatim::nn
