#include "nn/kernels/vectors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "nn/kernels/decay.h"
#include "nn/kernels/vector_math.h"

// What the kernels are written in, lane by lane against the same in plain numbers. Vectors of 32 lanes are pairs on
// every machine, of 64 pairs of pairs.
namespace verbatim::nn {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class V>
constexpr size_t count_of = static_cast<size_t>(kLanesOf<V>);

template <class V>
auto lanes_of(const V& x) {
  std::array<Element<V>, count_of<V>> lanes;
  store_all(lanes.data(), x);
  return lanes;
}

template <class V>
std::array<Element<V>, count_of<V>> random_lanes(uint32_t seed) {
  std::mt19937 generator(seed);
  std::array<Element<V>, count_of<V>> lanes;
  for (auto& lane : lanes) lane = static_cast<Element<V>>(static_cast<int>(generator() % 2001) - 1000);
  return lanes;
}

// f, which takes vectors as well as numbers, of two vectors against that of their lanes.
template <class V, class F>
void expect_lane_by_lane(const F& f) {
  const auto a = random_lanes<V>(1), b = random_lanes<V>(2);
  const auto got = lanes_of(f(load_as<V>(a.data()), load_as<V>(b.data())));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(got[i], f(a[i], b[i])) << "lane " << i;
}

template <class V>
class AnyVector : public testing::Test {};
template <class V>
class NumberVector : public testing::Test {};
template <class V>
class IntegerVector : public testing::Test {};
template <class V>
class FloatVectors : public testing::Test {};

using Any =
    testing::Types<F32x16, I32x16, NativeF32, Vector<float, 32>, Vector<int32_t, 64>, F64x16, Vector<double, 8>>;
using Integers = testing::Types<I32x16, U32x16, Vector<int32_t, 32>, Vector<uint32_t, 64>>;
using Floats = testing::Types<F32x16, Vector<float, 32>, F64x16, Vector<double, 8>>;
using Natives = testing::Types<F32x16, NativeF32>;
TYPED_TEST_SUITE(AnyVector, Any);
TYPED_TEST_SUITE(NumberVector, Floats);
TYPED_TEST_SUITE(IntegerVector, Integers);
TYPED_TEST_SUITE(FloatVectors, Natives);

TYPED_TEST(AnyVector, adds_subtracts_and_multiplies) {
  using V = TypeParam;
  using T = Element<V>;
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a + b; });
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a - b; });
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a * b; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return -a; });
  expect_lane_by_lane<V>([](const auto& a, const auto& b) {
    auto sum = a;
    sum += b;
    sum *= b;
    sum -= a;
    return sum;
  });
  // A number stands for all lanes, on either side.
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return a + T{3}; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return T{3} - a; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return a - T{3}; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return T{3} * a; });
}

TYPED_TEST(AnyVector, chooses_where_a_comparison_holds) {
  using V = TypeParam;
  const auto a = random_lanes<V>(1);
  auto b = random_lanes<V>(2);
  b[1] = a[1];
  b[b.size() - 1] = a[a.size() - 1];
  const V va = load_as<V>(a.data()), vb = load_as<V>(b.data());
  const auto less = lanes_of(V(select(va < vb, va, vb))), equal = lanes_of(V(select(va == vb, va, V{})));
  const auto at_most_b = lanes_of(V(select(va <= vb, va, V{}))), at_least_b = lanes_of(V(select(va >= vb, va, V{})));
  const auto more = lanes_of(V(select(va > vb, va, vb)));
  const auto between = lanes_of(V(select((va > Element<V>{-500}) & (va < Element<V>{500}), va, V{})));
  const auto neither = lanes_of(V(select(~((va < vb) | (va > vb)), va, V{})));
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(less[i], std::min(a[i], b[i]));
    EXPECT_EQ(more[i], std::max(a[i], b[i]));
    EXPECT_EQ(equal[i], a[i] == b[i] ? a[i] : 0);
    EXPECT_EQ(at_most_b[i], a[i] <= b[i] ? a[i] : 0);
    EXPECT_EQ(at_least_b[i], a[i] >= b[i] ? a[i] : 0);
    EXPECT_EQ(between[i], a[i] > -500 && a[i] < 500 ? a[i] : 0);
    EXPECT_EQ(neither[i], a[i] == b[i] ? a[i] : 0);
  }
}

TYPED_TEST(AnyVector, fills_and_counts_lanes) {
  using V = TypeParam;
  const auto same = lanes_of(splat<V>(7)), counted = lanes_of(lane_numbers<V>(5));
  for (size_t i = 0; i < same.size(); ++i) {
    EXPECT_EQ(same[i], 7);
    EXPECT_EQ(counted[i], static_cast<Element<V>>(5 + i));
  }
  EXPECT_EQ(first_lane(lane_numbers<V>(5)), 5);
  V held = lane_numbers<V>(5);
  hold(held);
  EXPECT_EQ(lanes_of(held), counted);
}

TYPED_TEST(NumberVector, divides_and_takes_roots) {
  using V = TypeParam;
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a / (b * b + Element<V>{1}); });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return Element<V>{2} / (a * a + Element<V>{1}); });
  if constexpr (std::is_same_v<Element<V>, float>) {
    const auto a = random_lanes<V>(3);
    const auto roots = lanes_of(square_root(V(load_as<V>(a.data()) * load_as<V>(a.data()))));
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(roots[i], std::abs(a[i]));
  }
}

TYPED_TEST(IntegerVector, shifts_and_masks) {
  using V = TypeParam;
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a & b; });
  expect_lane_by_lane<V>([](const auto& a, const auto& b) { return a | b; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return ~a; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return a << 3; });
  expect_lane_by_lane<V>([](const auto& a, const auto&) { return a >> 2; });
}

// The second one where either is NaN, as the kernels count on.
TYPED_TEST(FloatVectors, larger_and_smaller_with_nan) {
  using V = TypeParam;
  expect_lane_by_lane<V>([](const auto& a, const auto& b) {
    using std::max;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(a)>, float>) {
      return max(a, b);
    } else {
      return maximum(a, b);
    }
  });
  expect_lane_by_lane<V>([](const auto& a, const auto& b) {
    using std::min;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(a)>, float>) {
      return min(a, b);
    } else {
      return minimum(a, b);
    }
  });
  const V nan = splat<V>(kNan), one = splat<V>(1);
  for (const float lane : lanes_of(maximum(nan, one))) EXPECT_EQ(lane, 1);
  for (const float lane : lanes_of(minimum(nan, one))) EXPECT_EQ(lane, 1);
  for (const float lane : lanes_of(at_least(nan, 0))) EXPECT_TRUE(std::isnan(lane));
  for (const float lane : lanes_of(at_most(nan, 0))) EXPECT_TRUE(std::isnan(lane));
}

TEST(vectors, convert_numbers) {
  const auto floats = random_lanes<F32x16>(4);
  const F32x16 x = load_as<F32x16>(floats.data()) * 0.25F;
  const auto whole = lanes_of(convert<I32x16>(x));
  const auto wide = lanes_of(convert<F64x16>(x));
  const auto eight = lanes_of(convert<Vector<double, 8>>(load_as<Vector<float, 8>>(floats.data())));
  const auto back = lanes_of(convert<F32x16>(convert<I32x16>(x)));
  for (size_t i = 0; i < floats.size(); ++i) {
    EXPECT_EQ(whole[i], static_cast<int32_t>(floats[i] * 0.25F));
    EXPECT_EQ(back[i], static_cast<float>(whole[i]));
    EXPECT_EQ(wide[i], static_cast<double>(floats[i] * 0.25F));
  }
  for (size_t i = 0; i < eight.size(); ++i) EXPECT_EQ(eight[i], static_cast<double>(floats[i]));
  const auto narrow = lanes_of(convert<U16x16>(lane_numbers<U32x16>(65530)));
  const auto widened = lanes_of(convert<U32x16>(convert<U16x16>(lane_numbers<U32x16>(65530))));
  for (size_t i = 0; i < narrow.size(); ++i) {
    EXPECT_EQ(narrow[i], static_cast<uint16_t>(65530 + i));
    EXPECT_EQ(widened[i], narrow[i]);
  }
  for (const uint32_t bits : lanes_of(bits_as<U32x16>(splat(1)))) EXPECT_EQ(bits, 0x3f800000U);
}

TYPED_TEST(FloatVectors, parts_of_rows_leave_the_rest_alone) {
  using V = TypeParam;
  const auto values = random_lanes<V>(5);
  for (int64_t count = 0; count <= kLanesOf<V>; ++count) {
    // Exactly as long as what may be touched, so that a sanitizer sees more.
    const std::vector<float> row(values.begin(), values.begin() + count);
    const auto read = lanes_of(load_part<V>(row.data(), count));
    std::vector<BFloat16Bits> short_row(static_cast<size_t>(count), 0x4040);  // 3
    const auto read_short = lanes_of(load_part<V>(short_row.data(), count));
    std::vector<float> written(static_cast<size_t>(count), -1);
    store_part(written.data(), load_as<V>(values.data()), count);
    store_part(short_row.data(), splat<V>(1), count);
    for (int64_t i = 0; i < kLanesOf<V>; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_EQ(read[at], i < count ? values[at] : 0);
      EXPECT_EQ(read_short[at], i < count ? 3 : 0);
      if (i >= count) continue;
      EXPECT_EQ(written[at], values[at]);
      EXPECT_EQ(short_row[at], 0x3f80);
    }
  }
  const auto rest = lanes_of(with_rest(splat(2), 5, 9));
  for (size_t i = 0; i < rest.size(); ++i) EXPECT_EQ(rest[i], i < 5 ? 2 : 9);
}

TYPED_TEST(FloatVectors, bfloat16_rounds_to_nearest_even) {
  using V = TypeParam;
  struct Case {
    uint32_t bits;
    BFloat16Bits expected;
  };
  // Below the middle, the middle to the even one below and above, above the middle, into the next exponent, to
  // infinity, infinity, negative.
  for (const Case& each :
       {Case{0x3f807fff, 0x3f80}, Case{0x3f808000, 0x3f80}, Case{0x3f818000, 0x3f82}, Case{0x3f808001, 0x3f81},
        Case{0x3fffffff, 0x4000}, Case{0x7f7fffff, 0x7f80}, Case{0x7f800000, 0x7f80}, Case{0xbf818000, 0xbf82}}) {
    float value;
    std::memcpy(&value, &each.bits, sizeof value);
    std::array<BFloat16Bits, count_of<V>> stored;
    store(stored.data(), splat<V>(value));
    for (const BFloat16Bits bits : stored) EXPECT_EQ(bits, each.expected) << std::hex << each.bits;
  }
  std::array<BFloat16Bits, count_of<V>> stored;
  store(stored.data(), splat<V>(kNan));
  for (const float lane : lanes_of(load<V>(stored.data()))) EXPECT_TRUE(std::isnan(lane));
}

TYPED_TEST(FloatVectors, sums_of_lanes) {
  using V = TypeParam;
  std::vector<float> vectors(16 * count_of<V>);
  std::mt19937 generator(6);
  for (float& value : vectors) value = static_cast<float>(generator() % 1000);
  const auto sums = lanes_of(sums_of_lanes<V>(vectors.data()));
  for (size_t i = 0; i < sums.size(); ++i) {
    float expected = 0;
    for (size_t k = 0; k < count_of<V>; ++k) expected += vectors[i * count_of<V> + k];
    EXPECT_EQ(sums[i], expected) << i;
  }
  const auto values = random_lanes<F32x16>(7);
  float total = 0, most = values[0];
  for (const float value : values) total += value, most = std::max(most, value);
  EXPECT_EQ(sum_of_lanes(load_as<F32x16>(values.data())), total);
  EXPECT_EQ(maximum_of_lanes(load_as<F32x16>(values.data())), most);
}

// The same sum in the same order, alone and among sixteen: models read alike row by row and in batches.
TEST(vectors, a_sum_alone_is_that_among_sixteen) {
  std::vector<float> vectors(16 * kLanes);
  std::mt19937 generator(8);
  std::normal_distribution<float> normal;
  for (float& value : vectors) value = normal(generator);
  const auto sums = lanes_of(sums_of_lanes(vectors.data()));
  for (int64_t i = 0; i < kLanes; ++i) {
    EXPECT_EQ(sums[static_cast<size_t>(i)], sum_of_lanes(load(vectors.data() + i * kLanes))) << i;
  }
}

TEST(vectors, transposes_with_strides) {
  constexpr int64_t kIn = 19, kOut = 21;
  std::vector<uint32_t> in(16 * kIn), out(16 * kOut, 77);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint32_t>(i);
  transpose_16x16(in.data(), kIn, out.data(), kOut);
  for (int64_t i = 0; i < 16; ++i) {
    for (int64_t j = 0; j < kOut; ++j) {
      EXPECT_EQ(out[static_cast<size_t>(i * kOut + j)], j < 16 ? static_cast<uint32_t>(j * kIn + i) : 77U);
    }
  }
}

// The largest relative error of `of` against `expected` on [low, high].
template <class V, class Of, class Expected>
double largest_error(float low, float high, const Of& of, const Expected& expected) {
  double largest = 0;
  constexpr int kPoints = 20000;
  for (int i = 0; i < kPoints; i += kLanesOf<V>) {
    std::array<float, count_of<V>> x;
    for (size_t k = 0; k < x.size(); ++k) {
      x[k] = low + (high - low) * static_cast<float>(i + static_cast<int>(k)) / kPoints;
    }
    const auto got = lanes_of(of(load_as<V>(x.data())));
    for (size_t k = 0; k < x.size(); ++k) {
      const double exact = expected(static_cast<double>(x[k]));
      largest = std::max(largest, std::abs(static_cast<double>(got[k]) - exact) / std::abs(exact));
    }
  }
  return largest;
}

TYPED_TEST(FloatVectors, exponentials) {
  using V = TypeParam;
  const auto e = [](double x) { return std::exp(x); };
  const auto two = [](double x) { return std::exp2(x); };
  EXPECT_LT(largest_error<V>(
                -87, 88.7F, [](const V& x) { return exp(x); }, e),
            3e-7);
  EXPECT_LT(largest_error<V>(
                -126, 127.99F, [](const V& x) { return exp2(x); }, two),
            2.5e-7);
  EXPECT_LT(largest_error<V>(
                -126, 127.99F, [](const V& x) { return exp2<ExpAccuracy::kBFloat16>(x); }, two),
            2e-4);
  EXPECT_LT(largest_error<V>(
                -80, 80, [](const V& x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }),
            4e-7);
  EXPECT_LT(
      largest_error<V>(
          -80, 80, [](const V& x) { return softplus(x).value; }, [](double x) { return std::log1p(std::exp(x)); }),
      6e-7);
  EXPECT_LT(largest_error<V>(
                -80, 80, [](const V& x) { return softplus(x).slope; }, [](double x) { return 1 / (1 + std::exp(-x)); }),
            4e-7);
  // Absolute errors: log2 is 0 at 1.
  EXPECT_LT(largest_error<V>(
                0.01F, 1000, [](const V& x) { return log2(x) + 100.0F; }, [](double x) { return std::log2(x) + 100; }),
            2e-7);
}

TYPED_TEST(FloatVectors, exponentials_at_their_ends) {
  using V = TypeParam;
  for (const float x : {-104.0F, -1e4F, -1e30F, -kInfinity}) {
    EXPECT_EQ(lanes_of(exp(splat<V>(x)))[0], 0) << x;
  }
  // Half of the smallest number there is: rounded either way.
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  const float half = lanes_of(exp2(splat<V>(-150.0F)))[0];
  EXPECT_TRUE(half == 0 || half == kSmallest) << half;
  for (const float x : {-151.0F, -1e4F, -1e30F}) EXPECT_EQ(lanes_of(exp2(splat<V>(x)))[0], 0) << x;
  for (const float x : {89.0F, 1e4F, 1e30F, kInfinity}) EXPECT_EQ(lanes_of(exp(splat<V>(x)))[0], kInfinity) << x;
  for (const float x : {128.0F, 1e4F, 1e30F}) EXPECT_EQ(lanes_of(exp2(splat<V>(x)))[0], kInfinity) << x;
  EXPECT_NEAR(lanes_of(exp(V{}))[0], 1, 2e-7);
  EXPECT_NEAR(lanes_of(exp2(V{}))[0], 1, 2e-7);
  EXPECT_TRUE(std::isnan(lanes_of(exp(splat<V>(kNan)))[0]));
  EXPECT_TRUE(std::isnan(lanes_of(softplus(splat<V>(kNan)).value)[0]));
  EXPECT_EQ(lanes_of(softplus(splat<V>(1e30F)).value)[0], 1e30F);
  EXPECT_EQ(lanes_of(softplus(splat<V>(-1e30F)).value)[0], 0);
}

// What is multiplied over thousands of rows is the distance from 1.
TYPED_TEST(FloatVectors, decays) {
  using V = TypeParam;
  const auto decay = [](const V& x) { return decay_of(x, splat<V>(-1.5F)); };
  // Of the exponent as it is rounded.
  const auto exponent = [](double x) { return static_cast<double>(static_cast<float>(-1.5 * x)) * std::log(2.0); };
  EXPECT_LT(largest_error<V>(0, 80, decay, [&](double x) { return std::exp(exponent(x)); }), 3e-7);
  for (const float high : {1e-3F, 1e-2F, 0.1F, 1.0F}) {
    const double rounding = 6e-8 / -std::expm1(exponent(static_cast<double>(high) / 10));
    const auto distance = [&](const V& x) { return 1.0F - decay(x); };
    EXPECT_LT(largest_error<V>(high / 10, high, distance, [&](double x) { return -std::expm1(exponent(x)); }),
              1e-6 + rounding)
        << high;
  }
  // Below the normal numbers it may be 0, else it is right as far as it has bits.
  const float least = lanes_of(decay(splat<V>(85.0F)))[0];
  const double right = std::exp(exponent(85));
  EXPECT_TRUE(least == 0 || std::abs(static_cast<double>(least) - right) < 3e-7 * right + 2e-45) << least;
  for (const float x : {1e3F, 1e5F, 1e7F, 1e15F, 1e30F}) EXPECT_EQ(lanes_of(decay(splat<V>(x)))[0], 0) << x;
  EXPECT_EQ(lanes_of(decay(V{}))[0], 1);
}

}  // namespace
}  // namespace verbatim::nn
