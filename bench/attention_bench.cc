// Rates of attention in GFLOP/s beside a matrix product's in the same run. Only the products that the mask leaves
// count: 4 d operations per query, key and head forward, 10 d backward.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "nn/autograd.h"
#include "nn/kernels/attention.h"

namespace {

using verbatim::nn::AttentionShape;
using verbatim::nn::Ranges;
using verbatim::nn::Sequences;

// The best of several runs: the machine may be shared. With one thread its processor time counts, otherwise the wall's.
double seconds_now() {
  timespec now{};
  clock_gettime(at::get_num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double best_seconds(const std::function<void()>& work) {
  double best = 1e30;
  const double start = seconds_now();
  for (int i = 0; i < 400; ++i) {
    const double before = seconds_now();
    work();
    const double after = seconds_now();
    if (i > 0) best = std::min(best, after - before);
    if (i >= 3 && after - start > 0.3) break;
  }
  return best;
}

double matmul_rate(at::ScalarType type) {
  const auto a = at::randn({1024, 1024}).to(type);
  const auto b = at::randn({1024, 1024}).to(type);
  return 2.0 * 1024 * 1024 * 1024 / best_seconds([&] { at::matmul(a, b); }) * 1e-9;
}

void report(const std::string& name, double forward_operations, const at::Tensor& out,
            const std::vector<at::Tensor>& inputs, const std::function<at::Tensor()>& run, double matmul) {
  at::NoGradGuard no_grad;
  const double forward = best_seconds([&] { run(); });
  const auto gradient = at::randn_like(out);
  const double backward =
      best_seconds([&] { torch::autograd::grad({out}, inputs, {gradient}, /*retain_graph=*/true); });
  const double forward_rate = forward_operations / forward * 1e-9;
  const double backward_rate = 2.5 * forward_operations / backward * 1e-9;
  fmt::print("{:44} forward {:7.2f} ms {:6.0f} GFLOP/s ({:.2f})  backward {:7.2f} ms {:6.0f} GFLOP/s ({:.2f})\n", name,
             forward * 1e3, forward_rate, forward_rate / matmul, backward * 1e3, backward_rate, backward_rate / matmul);
}

Sequences equal_sequences(int64_t count, int64_t length) {
  Sequences sequences;
  for (int64_t s = 1; s <= count; ++s) sequences.offsets.push_back(s * length);
  return sequences;
}

double pairs_seen(const Sequences& sequences, int64_t window) {
  double pairs = 0;
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t i = 0; i < sequences.length(s); ++i) {
      pairs += static_cast<double>(window == 0 ? i + 1 : std::min(window, i + 1));
    }
  }
  return pairs;
}

void self(const std::string& name, const Sequences& sequences, AttentionShape shape, int64_t window,
          at::ScalarType type, double matmul) {
  const int64_t columns = (shape.heads + 2 * shape.key_value_heads) * shape.head_width;
  const auto qkv = at::randn({sequences.rows(), columns}).to(type).requires_grad_(true);
  const auto run = [&] {
    return verbatim::nn::self_attention(qkv, sequences, shape, window, {.theta = 10000, .interleaved = false});
  };
  const double operations = 4.0 * pairs_seen(sequences, window) * static_cast<double>(shape.heads * shape.head_width);
  report(name, operations, run(), {qkv}, run, matmul);
}

// Patches of 5 bytes read by 2 queries each.
void patches(const std::string& name, int64_t keys, AttentionShape shape, at::ScalarType type, double matmul) {
  Ranges ranges;
  double pairs = 0;
  for (int64_t k = 0; k + 5 <= keys; k += 5) {
    for (int i = 0; i < 2; ++i) {
      ranges.begin.push_back(static_cast<int32_t>(k));
      ranges.end.push_back(static_cast<int32_t>(k + 5));
      pairs += 5;
    }
  }
  const auto queries = static_cast<int64_t>(ranges.begin.size());
  const auto q = at::randn({queries, shape.heads * shape.head_width}).to(type).requires_grad_(true);
  const auto kv = at::randn({keys, 2 * shape.key_value_heads * shape.head_width}).to(type).requires_grad_(true);
  const auto run = [&] { return verbatim::nn::range_attention(q, kv, ranges, shape); };
  report(name, 4.0 * pairs * static_cast<double>(shape.heads * shape.head_width), run(), {q, kv}, run, matmul);
}

}  // namespace

// attention_bench [threads]
int main(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::atoi(argv[1]));
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  fmt::print("{} threads; in brackets the ratio to a 1024 x 1024 x 1024 product of the same type\n",
             at::get_num_threads());
  for (const auto type : {at::kBFloat16, at::kFloat}) {
    const double matmul = matmul_rate(type);
    fmt::print("{}: matmul {:.0f} GFLOP/s\n", c10::toString(type), matmul);
    self("a) 16 x 1024 rows, H 4, d 32, window 64", equal_sequences(16, 1024), {4, 4, 32}, 64, type, matmul);
    self("b) 16 x 1024 rows, H 4, d 32", equal_sequences(16, 1024), {4, 4, 32}, 0, type, matmul);
    self("b) 16 x 1024 rows, H 8, d 64", equal_sequences(16, 1024), {8, 8, 64}, 0, type, matmul);
    self("c) 16 x 190 rows, H 6, d 32", equal_sequences(16, 190), {6, 6, 32}, 0, type, matmul);
    self("d) 4096 rows, H 8, G 2, d 128", equal_sequences(1, 4096), {8, 2, 128}, 0, type, matmul);
    patches("e) 16384 bytes in patches of 5, H 4, d 32", 16384, {4, 4, 32}, type, matmul);
  }
}
