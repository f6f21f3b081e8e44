#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/decay.h"
#include "nn/kernels/state_space.h"
#include "nn/state_space_rows.h"
#include "nn/tensor_memory.h"

// State-space layers, forward and backward together, on 8 sequences of 2048 rows. "of_memcpy" is the rate at which the
// bytes move that must (inputs read twice, output written, its gradient read, gradients of the inputs written) over
// that of a copy of as many bytes measured in this run: 1 is the limit of the machine, "limit_ms" the time at it.
// "arithmetic_ms", of the Mamba-1 scan: what its numbers alone take, in registers, with nothing loaded or stored; where
// this is more than limit_ms, memory is not what limits the scan. "of_arithmetic" is its share of the scan's time.
// "times_plain" is the time of the plain form, measured on one of the sequences, over that of the fast one. Processor
// time of one thread: other programs on the machine disturb it less than the wall clock. Where the name says "threads",
// the wall clock with so many threads, in the layer, its plain form and the copy; the machine should do nothing else.
namespace verbatim::nn {
namespace {

using Tensors = std::vector<at::Tensor>;
using Function = std::function<at::Tensor(const Tensors&)>;

constexpr int64_t kSequences = 8;
constexpr int64_t kLength = 2048;
constexpr int64_t kRows = kSequences * kLength;

// The sequences that `x` has the rows of.
Sequences batch(const at::Tensor& x) {
  Sequences sequences;
  for (int64_t row = kLength; row <= x.size(0); row += kLength) sequences.offsets.push_back(row);
  return sequences;
}

int num_threads = 1;

double now_seconds() {
  timespec now{};
  clock_gettime(num_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds(const std::function<void()>& work) {
  const double start = now_seconds();
  work();
  return now_seconds() - start;
}

// Bytes read and written per second by memcpy, moving `bytes` in all.
double copy_rate(int64_t bytes) {
  const at::Tensor from = at::ones({bytes / 2}, at::kChar), to = at::ones({bytes / 2}, at::kChar);
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 6; ++repeat) {
    best = std::min(best, seconds([&] {
                      at::parallel_for(0, num_threads, 1, [&](int64_t first, int64_t last) {
                        const int64_t begin = from.numel() * first / num_threads,
                                      end = from.numel() * last / num_threads;
                        std::memcpy(to.data_ptr<int8_t>() + begin, from.data_ptr<int8_t>() + begin,
                                    static_cast<size_t>(end - begin));
                      });
                      benchmark::ClobberMemory();
                    }));
  }
  return static_cast<double>(bytes) / best;
}

// For the compiler `x` is needed and may be another one from here on; it stays in its register.
VERBATIM_INLINE void use(NativeF32& x) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(x));
#else
  asm volatile("" : "+x"(x));
#endif
}

// The arithmetic of a Mamba-1 scan and its gradient, for `vectors` registers of channels in one row each. Operands stay
// in registers, and each loop has more independent numbers than the processor has latency. Decays and softplus are
// computed in both directions, as the scan does: kept decays would be as many numbers as all states.
void scan_arithmetic(int64_t vectors, int64_t states) {
  using V = NativeF32;
  constexpr int kAtOnce = kFillsRegister ? 8 : 4;
  V rate[kAtOnce], s[kAtOnce], carry[kAtOnce], drate[kAtOnce];
  for (int k = 0; k < kAtOnce; ++k) {
    rate[k] = splat<V>(-0.1F * static_cast<float>(k + 1));
    s[k] = carry[k] = drate[k] = V{};
  }
  V step = splat<V>(-3), delta = splat<V>(0.05F), input = splat<V>(0.5F), dy = splat<V>(0.25F), b = dy, c = dy;
  for (int64_t i = 0; i < vectors; ++i) {
    use(step);  // or the compiler would do the same only once
    V value = softplus(step).value;
    use(value);
    use(step);
    auto parts = softplus(step);
    use(parts.value);
    use(parts.slope);
  }
  const int64_t count = vectors * (states / kAtOnce);
  for (int64_t i = 0; i < count; ++i) {
    use(delta);
    V y{}, odd{};
#pragma GCC unroll 8
    for (int k = 0; k < kAtOnce; ++k) {
      use(b);  // each state has its own
      s[k] = decay_of(delta, rate[k]) * s[k] + input * b;
      (k % 2 == 0 ? y : odd) += s[k] * c;
    }
    y += odd;
    use(y);
  }
  for (int64_t i = 0; i < count; ++i) {
    use(delta);
#pragma GCC unroll 8
    for (int k = 0; k < kAtOnce; ++k) {
      V decay = decay_of(delta, rate[k]);
      V remains = decay * s[k];
      use(decay);
      use(remains);
      use(b);
      s[k] = remains + input * b;
      V dc = c + dy * s[k];
      use(dc);
    }
  }
  V remains = dy, decay = delta;
  for (int64_t i = 0; i < count; ++i) {
    use(delta);
    use(input);
    use(dy);
    V dinput{}, dlog{};
#pragma GCC unroll 8
    for (int k = 0; k < kAtOnce; ++k) {
      use(c);
      const V dstate = carry[k] + dy * c;
      V db = b + dstate * input;
      use(db);
      dinput += dstate * b;
      const V dexponent = dstate * remains;
      carry[k] = dstate * decay;
      dlog += dexponent * rate[k];
      drate[k] += dexponent * delta;
    }
    use(dinput);
    use(dlog);
  }
  for (int k = 0; k < kAtOnce; ++k) use(drate[k]);
}

// The same for all rows of `channels`.
double scan_arithmetic_seconds(int64_t channels, int64_t states) {
  const int64_t vectors = kRows * channels / kNativeLanes;
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 6; ++repeat) {
    best = std::min(best, seconds([&] {
                      at::parallel_for(0, num_threads, 1, [&](int64_t first, int64_t last) {
                        scan_arithmetic(vectors * last / num_threads - vectors * first / num_threads, states);
                      });
                    }));
  }
  return best;
}

double product_rate(at::ScalarType type) {
  const at::Tensor a = at::randn({1024, 1024}).to(type);
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 6; ++repeat) {
    best = std::min(best, seconds([&] { benchmark::DoNotOptimize(at::mm(a, a)); }));
  }
  return 2.0 * 1024 * 1024 * 1024 / best;
}

// `operations`: of the products in a forward pass, or 0.
void layer(benchmark::State& state, const Tensors& inputs, int64_t operations, const Function& fast,
           const Function& plain) {
  for (const at::Tensor& input : inputs) input.requires_grad_(true);
  const at::Tensor dy = at::randn(inputs[0].sizes()).to(inputs[0].scalar_type());
  const auto both_ways = [](const Function& function, const Tensors& in, const at::Tensor& gradient) {
    benchmark::DoNotOptimize(torch::autograd::grad({function(in)}, in, {gradient}));
  };
  int64_t bytes = 2 * static_cast<int64_t>(dy.nbytes());
  for (const at::Tensor& input : inputs) bytes += 3 * static_cast<int64_t>(input.nbytes());

  both_ways(fast, inputs, dy);
  double forward = std::numeric_limits<double>::infinity(), best = forward;
  for (auto _ : state) {
    const at::NoGradGuard no_grad;
    forward = std::min(forward, seconds([&] { benchmark::DoNotOptimize(fast(inputs)); }));
    const at::AutoGradMode with_grad(true);
    best = std::min(best, seconds([&] { both_ways(fast, inputs, dy); }));
  }
  const double rate = copy_rate(bytes);
  state.counters["ms"] = 1e3 * best;
  state.counters["forward_ms"] = 1e3 * forward;
  state.counters["limit_ms"] = 1e3 * static_cast<double>(bytes) / rate;
  state.counters["of_memcpy"] = static_cast<double>(bytes) / best / rate;
  Tensors one_sequence;
  for (const at::Tensor& input : inputs) {
    const at::Tensor part = input.size(0) == kRows ? input.slice(0, 0, kLength) : input;
    one_sequence.push_back(part.detach().requires_grad_(true));
  }
  const double slow = kSequences * seconds([&] { both_ways(plain, one_sequence, dy.slice(0, 0, kLength)); });
  state.counters["times_plain"] = slow / best;
  if (operations > 0) {
    state.counters["of_product"] = 3 * static_cast<double>(operations) / best / product_rate(inputs[0].scalar_type());
  }
}

at::Tensor values(int64_t width, at::ScalarType type) { return at::randn({kRows, width}).to(type); }

// Around delta = 0.05, where training starts.
at::Tensor steps(int64_t width, at::ScalarType type) { return (at::randn({kRows, width}) - 3).to(type); }

void convolution(benchmark::State& state, at::ScalarType type) {
  const int64_t channels = 640;
  layer(
      state, {values(channels, type), at::randn({channels, 4}), at::randn({channels})}, 0,
      [](const Tensors& in) { return causal_convolution(in[0], in[1], in[2], batch(in[0])); },
      [](const Tensors& in) { return causal_convolution_plain(in[0], in[1], in[2], batch(in[0])); });
}

// Runs a bench with several threads.
template <void (*bench)(benchmark::State&, at::ScalarType), int threads>
void threaded(benchmark::State& state, at::ScalarType type) {
  num_threads = threads;
  at::set_num_threads(threads);
  bench(state, type);
  num_threads = 1;
  at::set_num_threads(1);
}

void scan(benchmark::State& state, at::ScalarType type) {
  const int64_t channels = 512, states = 16;
  const at::Tensor log_decay = at::log(at::arange(1, states + 1, at::kFloat)).repeat({channels, 1});
  layer(
      state,
      {values(channels, type), steps(channels, type), log_decay, values(states, type), values(states, type),
       at::ones({channels})},
      0, [](const Tensors& in) { return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], batch(in[0])); },
      [](const Tensors& in) { return selective_scan_plain(in[0], in[1], in[2], in[3], in[4], in[5], batch(in[0])); });
  const double arithmetic_ms = 1e3 * scan_arithmetic_seconds(channels, states);
  state.counters["arithmetic_ms"] = arithmetic_ms;
  state.counters["of_arithmetic"] = arithmetic_ms / state.counters["ms"];
}

// state.range(0): S
Tensors duality_inputs(const StateSpaceShape& shape, at::ScalarType type) {
  return {values(shape.heads * shape.head_width, type), steps(shape.heads, type),
          at::log(at::linspace(1, 16, shape.heads)),    values(shape.groups * shape.state, type),
          values(shape.groups * shape.state, type),     at::ones({shape.heads})};
}

void duality(benchmark::State& state, at::ScalarType type) {
  const StateSpaceShape shape{.heads = 8, .head_width = 64, .groups = 1, .state = state.range(0)};
  layer(
      state, duality_inputs(shape, type), 2 * 3 * kRows * shape.heads * shape.head_width * shape.state,
      [=](const Tensors& in) { return state_space(in[0], in[1], in[2], in[3], in[4], in[5], batch(in[0]), shape); },
      [=](const Tensors& in) {
        return state_space_plain(in[0], in[1], in[2], in[3], in[4], in[5], batch(in[0]), shape);
      });
}

// The recurrence as it is written, forward alone, to compare with forward_ms of the products in chunks.
void duality_recurrence(benchmark::State& state) {
  const StateSpaceShape shape{.heads = 8, .head_width = 64, .groups = 1, .state = state.range(0)};
  const Tensors in = duality_inputs(shape, at::kFloat);
  const int64_t inner = shape.heads * shape.head_width;
  std::vector<float> y(static_cast<size_t>(kRows * inner));
  const auto at_row = [&](size_t which, int64_t row) { return in[which].data_ptr<float>() + row * in[which].size(1); };
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    best = std::min(best, seconds([&] {
                      for (int64_t first = 0; first < kRows; first += kLength) {
                        std::vector<float> states(static_cast<size_t>(inner * shape.state));
                        state_space_rows(at_row(0, first), inner, at_row(1, first), shape.heads,
                                         in[2].data_ptr<float>(), at_row(3, first), shape.state, at_row(4, first),
                                         shape.state, in[5].data_ptr<float>(), states.data(), y.data() + first * inner,
                                         inner, kLength, shape.heads, shape.head_width, shape.groups, shape.state);
                      }
                    }));
  }
  state.counters["forward_ms"] = 1e3 * best;
}

void gated_norm(benchmark::State& state, at::ScalarType type) {
  const int64_t width = 512;
  layer(
      state, {values(width, type), values(width, type), at::ones({width})}, 0,
      [](const Tensors& in) { return gated_rms_norm(in[0], in[1], in[2], 1, 1e-5); },
      [](const Tensors& in) { return gated_rms_norm_plain(in[0], in[1], in[2], 1, 1e-5); });
}

void smoothing(benchmark::State& state, at::ScalarType type) {
  layer(
      state, {values(512, type), at::rand({kRows}) * 0.9 + 0.05}, 0,
      [](const Tensors& in) { return smooth_rows(in[0], in[1], batch(in[0])); },
      [](const Tensors& in) { return smooth_rows_plain(in[0], in[1], batch(in[0])); });
}

void types(const char* name, void (*function)(benchmark::State&, at::ScalarType), const std::vector<int64_t>& sizes) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const std::string full = std::string(name) + (type == at::kFloat ? "/float32" : "/bfloat16");
    auto* bench = benchmark::RegisterBenchmark(full.c_str(), function, type)->Iterations(8);
    for (const int64_t size : sizes) bench->Arg(size);
  }
}

}  // namespace
}  // namespace verbatim::nn

int main(int argc, char** argv) {
  using namespace verbatim::nn;
  // Memory that is given back is used again: without this the system clears the pages of every large result anew, which
  // takes as long as some of the layers.
  set_up_tensor_memory();
  mallopt(M_MMAP_MAX, 0);
  at::set_num_threads(1);
  types("selective_scan", scan, {});
  types("selective_scan_2_threads", threaded<scan, 2>, {});
  types("state_space", duality, {64, 128});
  benchmark::RegisterBenchmark("state_space_recurrence", duality_recurrence)->Iterations(4)->Arg(64)->Arg(128);
  types("causal_convolution", convolution, {});
  types("gated_rms_norm", gated_norm, {});
  types("smooth_rows", smoothing, {});
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
