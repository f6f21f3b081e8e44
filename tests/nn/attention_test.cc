#include "nn/kernels/attention.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "nn/sequences.h"
#include "nn/torch.h"
#include "other_device/other_device.h"

namespace verbatim::nn {
namespace {

// The oracle: three loops in double, written from the formula and not from the code under test.
struct Naive {
  std::vector<std::vector<double>> q;  // [rows][H d], rotated
  std::vector<std::vector<double>> k;  // [rows][G d], rotated
  std::vector<std::vector<double>> v;
};

std::vector<std::vector<double>> rows_of(const at::Tensor& x, int64_t begin, int64_t width) {
  const auto wide = x.detach().to(at::kDouble).contiguous();
  const auto access = wide.accessor<double, 2>();
  std::vector<std::vector<double>> out(wide.size(0), std::vector<double>(width));
  for (int64_t r = 0; r < wide.size(0); ++r) {
    for (int64_t i = 0; i < width; ++i) out[r][i] = access[r][begin + i];
  }
  return out;
}

void naive_rotate(std::vector<double>& row, int64_t d, int64_t position, RotaryOptions rotary) {
  for (int64_t head = 0; head < static_cast<int64_t>(row.size()) / d; ++head) {
    for (int64_t i = 0; i < d / 2; ++i) {
      const double angle = position * std::pow(rotary.theta, -2.0 * i / d);
      const int64_t a = head * d + (rotary.interleaved ? 2 * i : i);
      const int64_t b = head * d + (rotary.interleaved ? 2 * i + 1 : i + d / 2);
      const double x = row[a];
      const double y = row[b];
      row[a] = x * std::cos(angle) - y * std::sin(angle);
      row[b] = x * std::sin(angle) + y * std::cos(angle);
    }
  }
}

at::Tensor naive_attend(const Naive& in, AttentionShape shape, const std::function<bool(int64_t, int64_t)>& sees) {
  const int64_t d = shape.head_width;
  const int64_t rows = static_cast<int64_t>(in.q.size());
  const auto out = at::zeros({rows, shape.heads * d}, at::kDouble);
  auto access = out.accessor<double, 2>();
  for (int64_t h = 0; h < shape.heads; ++h) {
    const int64_t g = h / (shape.heads / shape.key_value_heads);
    for (int64_t i = 0; i < rows; ++i) {
      double total = 0;
      for (int64_t j = 0; j < static_cast<int64_t>(in.k.size()); ++j) {
        if (!sees(i, j)) continue;
        double score = 0;
        for (int64_t c = 0; c < d; ++c) score += in.q[i][h * d + c] * in.k[j][g * d + c];
        const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
        total += weight;
        for (int64_t c = 0; c < d; ++c) access[i][h * d + c] += weight * in.v[j][g * d + c];
      }
      if (total == 0) continue;
      for (int64_t c = 0; c < d; ++c) access[i][h * d + c] /= total;
    }
  }
  return out;
}

at::Tensor naive_self(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape, int64_t window,
                      RotaryOptions rotary) {
  const auto [h, g, d] = shape;
  Naive in{rows_of(qkv, 0, h * d), rows_of(qkv, h * d, g * d), rows_of(qkv, (h + g) * d, g * d)};
  std::vector<int64_t> sequence_of(qkv.size(0));
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t r = sequences.offsets[s]; r < sequences.offsets[s + 1]; ++r) {
      sequence_of[r] = s;
      if (rotary.theta == 0) continue;
      naive_rotate(in.q[r], d, r - sequences.offsets[s], rotary);
      naive_rotate(in.k[r], d, r - sequences.offsets[s], rotary);
    }
  }
  return naive_attend(in, shape, [&](int64_t i, int64_t j) {
    return sequence_of[i] == sequence_of[j] && j <= i && (window == 0 || j > i - window);
  });
}

at::Tensor naive_range(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges, AttentionShape shape) {
  const auto [h, g, d] = shape;
  const Naive in{rows_of(q, 0, h * d), rows_of(kv, 0, g * d), rows_of(kv, g * d, g * d)};
  return naive_attend(in, shape, [&](int64_t i, int64_t j) { return j >= ranges.begin[i] && j < ranges.end[i]; });
}

at::Tensor random(int64_t rows, int64_t columns, at::ScalarType type, uint64_t seed = 7) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, columns}, generator, at::TensorOptions().dtype(at::kFloat)).to(type);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return 0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// The difference as a fraction of the reference's root mean square.
double relative_difference(const at::Tensor& a, const at::Tensor& reference) {
  if (a.numel() == 0) return 0;
  const auto wide = reference.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).square().mean().sqrt() / wide.square().mean().sqrt().clamp_min(1e-12))
      .item<double>();
}

struct SelfCase {
  std::vector<int64_t> offsets;
  AttentionShape shape;
  int64_t window = 0;
  RotaryOptions rotary;
};

std::string describe(const SelfCase& c) {
  return fmt::format("offsets {} H {} G {} d {} window {} theta {}{}", fmt::join(c.offsets, " "), c.shape.heads,
                     c.shape.key_value_heads, c.shape.head_width, c.window, c.rotary.theta,
                     c.rotary.interleaved ? " interleaved" : "");
}

int64_t columns(AttentionShape s) { return (s.heads + 2 * s.key_value_heads) * s.head_width; }

std::vector<SelfCase> self_cases() {
  return {
      {{0, 1}, {1, 1, 16}, 0, {}},
      {{0, 0, 1, 3, 3, 20}, {2, 2, 32}, 0, {10000, false}},
      {{0, 33, 97, 98, 260}, {4, 2, 32}, 0, {10000, false}},
      {{0, 33, 97, 98, 260}, {4, 2, 32}, 64, {10000, true}},
      {{0, 100, 150}, {2, 1, 64}, 1, {}},
      {{0, 100, 150}, {2, 1, 64}, 33, {500, false}},
      {{0, 130}, {2, 2, 128}, 0, {10000, false}},
      {{0, 130}, {2, 2, 24}, 16, {10000, true}},
      {{0, 70, 75}, {3, 3, 40}, 0, {10000, false}},
      {{0, 70}, {3, 1, 8}, 5, {}},
      {{0, 64, 70}, {1, 1, 10}, 0, {100, false}},
      {{0, 5, 5, 70}, {2, 1, 6}, 32, {100, true}},
  };
}

Ranges tiny_patches(int64_t keys, int64_t width, int64_t queries_each) {
  Ranges ranges;
  for (int64_t k = 0; k < keys; k += width) {
    for (int64_t i = 0; i < queries_each; ++i) {
      ranges.begin.push_back(static_cast<int32_t>(k));
      ranges.end.push_back(static_cast<int32_t>(std::min(k + width, keys)));
    }
  }
  return ranges;
}

struct RangeCase {
  std::string name;
  Ranges ranges;
  int64_t keys;
};

std::vector<RangeCase> range_cases() {
  std::vector<RangeCase> cases;
  cases.push_back({"patches of 5 bytes with 2 queries", tiny_patches(103, 5, 2), 103});
  cases.push_back({"one key for 3 queries", tiny_patches(40, 1, 3), 40});
  cases.push_back({"empty ranges between", {{0, 0, 3, 3, 3, 8}, {0, 3, 3, 7, 3 + 4, 8}}, 8});
  cases.push_back({"all empty", {{0, 2, 4}, {0, 2, 4}}, 4});
  Ranges sliding;
  for (int32_t i = 0; i < 90; ++i) {
    sliding.begin.push_back(std::max(0, i - 3));
    sliding.end.push_back(i + 1);
  }
  cases.push_back({"sliding by one over 4 keys", sliding, 90});
  Ranges longer;  // tokens over their byte stream: all bytes so far, about 3 bytes per token
  for (int32_t i = 0; i < 80; ++i) {
    longer.begin.push_back(i < 50 ? 0 : 150);
    longer.end.push_back(i < 50 ? 3 * i : 3 * i + 1);
  }
  cases.push_back({"two long streams with an empty first range", longer, 250});
  return cases;
}

// The gradients of sum(y * direction) for the inputs of `f`.
std::vector<at::Tensor> gradients(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
                                  const std::vector<at::Tensor>& inputs, uint64_t seed = 11) {
  std::vector<at::Tensor> leaves;
  leaves.reserve(inputs.size());
  for (const auto& x : inputs) leaves.push_back(x.detach().clone().requires_grad_(true));
  const auto y = f(leaves);
  const auto direction = random(y.size(0), y.size(1), at::kDouble, seed).to(y.options());
  y.backward(direction);
  std::vector<at::Tensor> out;
  out.reserve(leaves.size());
  for (const auto& x : leaves) out.push_back(x.grad().defined() ? x.grad() : at::zeros_like(x));
  return out;
}

// Central differences of sum(y * direction) along random directions of the inputs, in double.
void expect_gradients_match_differences(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
                                        const std::vector<at::Tensor>& inputs, const std::string& name) {
  const auto exact = gradients(f, inputs);
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const auto along = random(inputs[i].size(0), inputs[i].size(1), at::kDouble, 100 + seed);
      const auto value = [&](double step) {
        auto moved = inputs;
        moved[i] = inputs[i] + step * along;
        const auto y = f(moved);
        return (y * random(y.size(0), y.size(1), at::kDouble, 11)).sum().item<double>();
      };
      const double measured = (value(kStep) - value(-kStep)) / (2 * kStep);
      const double expected = (exact[i] * along).sum().item<double>();
      EXPECT_NEAR(measured, expected, 1e-6 * std::max(1.0, std::abs(expected))) << name << ", input " << i;
    }
  }
}

TEST(attention, plain_self_attention_equals_three_loops) {
  for (const auto& c : self_cases()) {
    const Sequences sequences{c.offsets};
    const auto qkv = random(sequences.rows(), columns(c.shape), at::kDouble);
    const auto expected = naive_self(qkv, sequences, c.shape, c.window, c.rotary);
    EXPECT_LT(largest_difference(self_attention_plain(qkv, sequences, c.shape, c.window, c.rotary), expected), 1e-12)
        << describe(c);
  }
}

TEST(attention, plain_range_attention_equals_three_loops) {
  const AttentionShape shape{4, 2, 16};
  for (const auto& c : range_cases()) {
    const auto q = random(static_cast<int64_t>(c.ranges.begin.size()), 64, at::kDouble);
    const auto kv = random(c.keys, 64, at::kDouble, 8);
    EXPECT_LT(largest_difference(range_attention_plain(q, kv, c.ranges, shape), naive_range(q, kv, c.ranges, shape)),
              1e-12)
        << c.name;
  }
}

TEST(attention, plain_gradients_equal_finite_differences) {
  for (const auto& c : self_cases()) {
    const Sequences sequences{c.offsets};
    expect_gradients_match_differences(
        [&](const std::vector<at::Tensor>& x) {
          return self_attention_plain(x[0], sequences, c.shape, c.window, c.rotary);
        },
        {random(sequences.rows(), columns(c.shape), at::kDouble)}, describe(c));
  }
  const AttentionShape shape{4, 2, 16};
  for (const auto& c : range_cases()) {
    expect_gradients_match_differences(
        [&](const std::vector<at::Tensor>& x) { return range_attention_plain(x[0], x[1], c.ranges, shape); },
        {random(static_cast<int64_t>(c.ranges.begin.size()), 64, at::kDouble), random(c.keys, 64, at::kDouble, 8)},
        c.name);
  }
}

TEST(attention, fast_self_attention_equals_three_loops_in_float32) {
  for (const auto& c : self_cases()) {
    const Sequences sequences{c.offsets};
    const auto qkv = random(sequences.rows(), columns(c.shape), at::kFloat);
    const auto out = self_attention(qkv, sequences, c.shape, c.window, c.rotary);
    EXPECT_EQ(out.scalar_type(), at::kFloat);
    EXPECT_LT(largest_difference(out, naive_self(qkv, sequences, c.shape, c.window, c.rotary)), 1e-5) << describe(c);
  }
}

TEST(attention, fast_self_attention_equals_three_loops_in_bfloat16) {
  for (const auto& c : self_cases()) {
    const Sequences sequences{c.offsets};
    const auto qkv = random(sequences.rows(), columns(c.shape), at::kBFloat16);
    const auto out = self_attention(qkv, sequences, c.shape, c.window, c.rotary);
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_LT(relative_difference(out, naive_self(qkv, sequences, c.shape, c.window, c.rotary)), 1e-2) << describe(c);
  }
}

TEST(attention, fast_self_gradients_equal_plain_gradients) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const auto& c : self_cases()) {
      const Sequences sequences{c.offsets};
      const auto qkv = random(sequences.rows(), columns(c.shape), type);
      const auto fast =
          gradients([&](const auto& x) { return self_attention(x[0], sequences, c.shape, c.window, c.rotary); }, {qkv});
      const auto plain =
          gradients([&](const auto& x) { return self_attention_plain(x[0], sequences, c.shape, c.window, c.rotary); },
                    {qkv.to(at::kDouble)});
      EXPECT_EQ(fast[0].scalar_type(), type);
      EXPECT_LT(relative_difference(fast[0], plain[0]), type == at::kFloat ? 1e-5 : 2e-2) << describe(c);
    }
  }
}

TEST(attention, fast_range_attention_and_gradients_equal_plain) {
  for (const auto shape : {AttentionShape{4, 2, 16}, AttentionShape{4, 2, 32}, AttentionShape{2, 1, 10}}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      for (const auto& c : range_cases()) {
        const auto q = random(static_cast<int64_t>(c.ranges.begin.size()), shape.heads * shape.head_width, type);
        const auto kv = random(c.keys, 2 * shape.key_value_heads * shape.head_width, type, 8);
        const auto run = [&](const auto& x) { return range_attention(x[0], x[1], c.ranges, shape); };
        const auto run_plain = [&](const auto& x) { return range_attention_plain(x[0], x[1], c.ranges, shape); };
        const std::vector<at::Tensor> wide = {q.to(at::kDouble), kv.to(at::kDouble)};
        const double tolerance = type == at::kFloat ? 1e-5 : 2e-2;
        const auto out = run(std::vector<at::Tensor>{q, kv});
        EXPECT_EQ(out.scalar_type(), type);
        EXPECT_LT(relative_difference(out, naive_range(q, kv, c.ranges, shape)), tolerance) << c.name;
        const auto fast = gradients(run, {q, kv});
        const auto plain = gradients(run_plain, wide);
        for (int i = 0; i < 2; ++i) {
          EXPECT_EQ(fast[i].scalar_type(), type);
          EXPECT_LT(relative_difference(fast[i], plain[i]), tolerance) << c.name << ", input " << i;
        }
      }
    }
  }
}

// There all sequences are padded to one length, and LibTorch 2 fuses the products.
TEST(attention, another_device_equals_three_loops) {
  const AttentionShape range_shape{4, 2, 16};
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const double tolerance = type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : 2e-2;
    const auto expect_equal = [&](const auto& run, const std::vector<at::Tensor>& inputs, const at::Tensor& expected,
                                  const std::string& name) {
      std::vector<at::Tensor> there, wide;
      for (const at::Tensor& x : inputs) {
        there.push_back(x.to(verbatim::testing::other_device()));
        wide.push_back(x.to(at::kDouble));
      }
      const at::Tensor out = run(there);
      EXPECT_EQ(out.device(), verbatim::testing::other_device());
      EXPECT_EQ(out.scalar_type(), type);
      EXPECT_LT(relative_difference(out.cpu(), expected), tolerance) << name;
      const auto gradients_there = gradients(run, there), plain = gradients(run, wide);
      for (size_t i = 0; i < inputs.size(); ++i) {
        EXPECT_LT(relative_difference(gradients_there[i].cpu(), plain[i]), 2 * tolerance) << name << ", input " << i;
      }
    };
    for (const auto& c : self_cases()) {
      const Sequences sequences{c.offsets};
      const auto qkv = random(sequences.rows(), columns(c.shape), type);
      expect_equal([&](const auto& x) { return self_attention(x[0], sequences, c.shape, c.window, c.rotary); }, {qkv},
                   naive_self(qkv, sequences, c.shape, c.window, c.rotary), describe(c));
    }
    for (const auto& c : range_cases()) {
      const auto q = random(static_cast<int64_t>(c.ranges.begin.size()), 64, type);
      const auto kv = random(c.keys, 64, type, 8);
      expect_equal([&](const auto& x) { return range_attention(x[0], x[1], c.ranges, range_shape); }, {q, kv},
                   naive_range(q, kv, c.ranges, range_shape), c.name);
    }
  }
}

TEST(attention, empty_ranges_give_zero_rows_and_no_gradient) {
  const AttentionShape shape{2, 1, 16};
  const Ranges ranges{{0, 2, 2}, {2, 2, 3}};
  const auto q = random(3, 32, at::kFloat);
  const auto kv = random(3, 32, at::kFloat, 8);
  const auto run = [&](const auto& x) { return range_attention(x[0], x[1], ranges, shape); };
  EXPECT_EQ(run(std::vector<at::Tensor>{q, kv})[1].abs().max().item<float>(), 0);
  EXPECT_EQ(gradients(run, {q, kv})[0][1].abs().max().item<float>(), 0);
}

TEST(attention, no_rows_give_no_rows) {
  const AttentionShape shape{2, 1, 16};
  EXPECT_EQ(self_attention(at::empty({0, 64}), Sequences{{0, 0, 0}}, shape, 0, {}).sizes(), (at::IntArrayRef{0, 32}));
  EXPECT_EQ(range_attention(at::empty({0, 32}), at::empty({0, 32}), {}, shape).sizes(), (at::IntArrayRef{0, 32}));
}

// A row changes exactly the rows that may see it: itself and the next window - 1 rows of its own sequence.
TEST(attention, a_row_reaches_exactly_the_rows_of_its_window_and_sequence) {
  const AttentionShape shape{2, 1, 32};
  const Sequences sequences{{0, 100, 300, 310}};
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t window : {0, 1, 2, 64, 65}) {
      const auto qkv = random(310, columns(shape), type);
      const auto before = self_attention(qkv, sequences, shape, window, {10000, false});
      for (const int64_t row : {0, 99, 100, 131, 299, 300}) {
        auto changed = qkv.clone();
        changed[row].add_(100);
        const auto after = self_attention(changed, sequences, shape, window, {10000, false});
        const auto differs = before.ne(after).any(1);
        const int64_t end_of_sequence = row < 100 ? 100 : row < 300 ? 300 : 310;
        const int64_t end = window == 0 ? end_of_sequence : std::min(end_of_sequence, row + window);
        for (int64_t r = 0; r < 310; ++r) {
          EXPECT_EQ(differs[r].item<bool>(), r >= row && r < end)
              << "row " << r << " after a change of " << row << ", window " << window;
        }
      }
    }
  }
}

TEST(attention, does_not_depend_on_the_number_of_threads_or_the_call) {
  const Sequences sequences{{0, 300, 301, 500, 1600}};
  const AttentionShape shape{4, 2, 32};
  const auto ranges = tiny_patches(1600, 5, 2);
  const int before = at::get_num_threads();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto qkv = random(1600, columns(shape), type);
    const auto q = random(static_cast<int64_t>(ranges.begin.size()), 128, type, 5);
    const auto kv = random(1600, 128, type, 8);
    std::vector<at::Tensor> first;
    for (const int threads : {1, 2, 2, 1}) {
      at::set_num_threads(threads);
      std::vector<at::Tensor> results;
      for (const int64_t window : {0, 64}) {
        const auto run = [&](const auto& x) { return self_attention(x[0], sequences, shape, window, {10000, false}); };
        results.push_back(run(std::vector<at::Tensor>{qkv}));
        results.push_back(gradients(run, {qkv})[0]);
      }
      const auto run = [&](const auto& x) { return range_attention(x[0], x[1], ranges, shape); };
      results.push_back(run(std::vector<at::Tensor>{q, kv}));
      for (const auto& gradient : gradients(run, {q, kv})) results.push_back(gradient);
      if (first.empty()) first = results;
      for (size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(at::equal(results[i], first[i])) << "result " << i;
    }
  }
  at::set_num_threads(before);
}

// Longer than one block of the fast form in both directions; large scores must not overflow.
TEST(attention, long_sequences_and_large_scores_agree_with_plain) {
  const AttentionShape shape{2, 1, 32};
  for (const int64_t window : {0, 1100}) {
    const Sequences sequences{{0, 1300}};
    const auto qkv = random(1300, columns(shape), at::kFloat) * 4;
    const RotaryOptions rotary{10000, false};
    const auto run = [&](const auto& x) { return self_attention(x[0], sequences, shape, window, rotary); };
    const auto run_plain = [&](const auto& x) { return self_attention_plain(x[0], sequences, shape, window, rotary); };
    EXPECT_LT(relative_difference(run(std::vector<at::Tensor>{qkv}), run_plain(std::vector<at::Tensor>{qkv})), 3e-5);
    EXPECT_LT(relative_difference(gradients(run, {qkv})[0], gradients(run_plain, {qkv})[0]), 1e-4);
  }
}

TEST(attention, accepts_strided_inputs_and_outputs) {
  const AttentionShape shape{2, 1, 16};
  const Sequences sequences{{0, 50}};
  const auto wide = random(50, 2 * columns(shape), at::kFloat);
  const auto part = wide.narrow(1, 3, columns(shape));
  EXPECT_TRUE(at::equal(self_attention(part, sequences, shape, 0, {}),
                        self_attention(part.contiguous(), sequences, shape, 0, {})));
  const auto leaf = part.contiguous().requires_grad_(true);
  self_attention(leaf, sequences, shape, 0, {}).sum().backward();  // an expanded gradient, strides 0
  const auto expected = gradients(
      [&](const auto& x) {
        return self_attention_plain(x[0], sequences, shape, 0, {}).sum().view({1, 1});
      },
      {part});
  const auto factor = random(1, 1, at::kDouble, 11).item<double>();
  EXPECT_LT(relative_difference(leaf.grad() * factor, expected[0]), 1e-5);
}

}  // namespace
}  // namespace verbatim::nn
