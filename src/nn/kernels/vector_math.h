#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

// Sixteen floats at once, in the compiler's own vector types: one AVX-512 register, or several smaller ones on machines
// without. Every function gives the same bits for the same input, whatever the position of a value in its vector.
namespace verbatim::nn {

using Floats = float __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));
using Words = uint32_t __attribute__((vector_size(64)));
using HalfWords = uint16_t __attribute__((vector_size(32)));

inline constexpr int64_t kLanes = 16;
using AllLanes = std::integral_constant<int64_t, kLanes>;

inline Floats broadcast(float value) { return Floats{} + value; }

// Loads and stores of `lanes` values: AllLanes{} for a full vector (unaligned is fine), a number below 16 at the end of
// a row; lanes beyond it are 0 when loaded and left alone when stored.
template <class Lanes>
inline Floats load(const float* from, Lanes lanes) {
  Floats result{};
  std::memcpy(&result, from, sizeof(float) * lanes);
  return result;
}

template <class Lanes>
inline Floats load(const c10::BFloat16* from, Lanes lanes) {
  HalfWords halves{};
  std::memcpy(&halves, from, sizeof(uint16_t) * lanes);
  return std::bit_cast<Floats>(__builtin_convertvector(halves, Words) << 16);
}

template <class Lanes>
inline void store(float* to, Floats values, Lanes lanes) {
  std::memcpy(to, &values, sizeof(float) * lanes);
}

// Rounds to nearest, ties to even; NaN stays NaN.
inline HalfWords round_to_bfloat16(Floats values) {
  const Words bits = std::bit_cast<Words>(values);
  const Words rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return __builtin_convertvector(values == values ? rounded : Words{} + 0x7FC0, HalfWords);
}

template <class Lanes>
inline void store(c10::BFloat16* to, Floats values, Lanes lanes) {
  const HalfWords halves = round_to_bfloat16(values);
  std::memcpy(to, &halves, sizeof(uint16_t) * lanes);
}

// Calls f(i, lanes) for i = 0, 16, 32, ...: with AllLanes as long as 16 values remain, then with what is left.
template <class F>
inline void by_vectors(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, AllLanes{});
  if (i < count) f(i, count - i);
}

// Sum and maximum over the lanes, always in the same tree order.
inline float sum_lanes(Floats v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof lanes);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

inline float max_lanes(Floats v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof lanes);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lanes[i] = lanes[i] < lanes[i + half] ? lanes[i + half] : lanes[i];
  }
  return lanes[0];
}

// e^x, relative error below 2e-7; 0 below -87.3, infinity above 88.7, NaN for NaN.
inline Floats exp(Floats x) {
  constexpr float kLow = -87.336544F;
  constexpr float kHigh = 88.722839F;
  const auto is_low = x < kLow;
  const auto is_high = x > kHigh;
  const Floats clamped = is_low ? broadcast(kLow) : is_high ? broadcast(kHigh) : x;
  // x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to the nearest integer, which then is in the low
  // bits.
  constexpr float kRounder = 12582912.0F;
  const Floats shifted = clamped * 1.44269504F + kRounder;
  const Floats n = shifted - kRounder;
  const Floats r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;
  // Minimax polynomial of (e^r - 1 - r) / r^2 (the coefficients of Cephes' expf).
  Floats p = broadcast(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  // Times 2^n in two halves: n reaches 128, one power of two alone would be infinite.
  const Ints whole = std::bit_cast<Ints>(shifted) - std::bit_cast<int32_t>(kRounder);
  const Ints first = whole >> 1;
  const Ints second = whole - first;
  const Floats value = p * std::bit_cast<Floats>((first + 127) << 23) * std::bit_cast<Floats>((second + 127) << 23);
  return is_low ? Floats{} : is_high ? broadcast(__builtin_inff()) : value;
}

// 1 / (1 + e^-x)
inline Floats sigmoid(Floats x) { return 1.0F / (1.0F + exp(-x)); }

}  // namespace verbatim::nn
