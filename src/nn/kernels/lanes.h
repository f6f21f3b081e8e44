#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "nn/kernels/vector_math.h"

// Rows of any length and either type in steps of sixteen values.
namespace verbatim::nn {

using AllLanes = std::integral_constant<int64_t, kLanes>;

// Loads and stores of `lanes` values: AllLanes{} for a full vector (unaligned is fine), a number below 16 at the end of
// a row; lanes beyond it are 0 when loaded and left alone when stored.
template <class Lanes>
inline F32x16 load(const float* from, Lanes lanes) {
  F32x16 result{};
  std::memcpy(&result, from, sizeof(float) * lanes);
  return result;
}

template <class Lanes>
inline F32x16 load(const c10::BFloat16* from, Lanes lanes) {
  U16x16 halves{};
  std::memcpy(&halves, from, sizeof(uint16_t) * lanes);
  return std::bit_cast<F32x16>(__builtin_convertvector(halves, U32x16) << 16);
}

template <class Lanes>
inline void store(float* to, F32x16 values, Lanes lanes) {
  std::memcpy(to, &values, sizeof(float) * lanes);
}

template <class Lanes>
inline void store(c10::BFloat16* to, F32x16 values, Lanes lanes) {
  const U16x16 halves = round_to_bfloat16(values);
  std::memcpy(to, &halves, sizeof(uint16_t) * lanes);
}

// Calls f(i, lanes) for i = 0, 16, 32, ...: with AllLanes as long as 16 values remain, then with what is left.
template <class F>
inline void by_vectors(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, AllLanes{});
  if (i < count) f(i, count - i);
}

inline float maximum_of_lanes(F32x16 v) {
  float part[kLanes];
  store(part, v);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) part[i] = part[i] < part[i + half] ? part[i + half] : part[i];
  }
  return part[0];
}

inline F32x16 square_root(F32x16 x) {
  for (int64_t lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
}

}  // namespace verbatim::nn
