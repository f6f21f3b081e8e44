#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "nn/kernels/vectors.h"

// Sixteen floats at a time: loads and stores of float32 and bfloat16, sums over lanes, exponentials and logarithms, a
// 16 x 16 transposition. Written once for all machines, in the types of vectors.h; instructions of a machine are named
// where they help. What takes a vector as a template also takes one register's worth, NativeF32.
namespace verbatim::nn {

using BFloat16Bits = uint16_t;  // the upper half of a float32

template <class V>
concept FloatVector = std::is_same_v<V, F32x16> || std::is_same_v<V, Vector<float, 8>> || std::is_same_v<V, NativeF32>;

template <FloatVector V = F32x16>
VERBATIM_INLINE V load(const float* p) {
  return load_as<V>(p);
}
template <FloatVector V>
VERBATIM_INLINE void store(float* p, const V& x) {
  store_all(p, x);
}

template <FloatVector V = F32x16>
VERBATIM_INLINE V load(const BFloat16Bits* p) {
  const auto bits = load_as<Vector<uint16_t, kLanesOf<V>>>(p);
  return bits_as<V>(convert<Vector<uint32_t, kLanesOf<V>>>(bits) << 16);
}

// The upper halves, rounded to nearest even; NaN stays NaN.
template <FloatVector V>
VERBATIM_INLINE auto round_to_bfloat16(const V& x) {
  using U16 = Vector<uint16_t, kLanesOf<V>>;
#if defined(__AVX512BF16__)
  return std::bit_cast<U16>(_mm512_cvtneps_pbh((__m512)x));
#else
  const auto bits = bits_as<Vector<uint32_t, kLanesOf<V>>>(x);
  const auto rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const auto nan = (bits >> 16) | 0x40u;
  return convert<U16>(select(x == x, rounded, nan));
#endif
}
template <FloatVector V>
VERBATIM_INLINE void store(BFloat16Bits* p, const V& x) {
  store_all(p, round_to_bfloat16(x));
}

// The first `count` lanes only (0 to all); the others read as zero and are not written.
template <FloatVector V = F32x16, class T>
VERBATIM_INLINE V load_part(const T* p, int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<__mmask16>(0xffffu >> (kLanes - count));
  if constexpr (sizeof(T) == 4) {
    return (F32x16)_mm512_maskz_loadu_ps(mask, p);
  } else {
    return (F32x16)_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
  }
#else
  if (count >= kLanesOf<V>) return load<V>(p);
  alignas(64) T buffer[kLanes] = {};
  if (count > 0) std::memcpy(buffer, p, static_cast<size_t>(count) * sizeof(T));  // p of an empty tensor is null
  return load<V>(buffer);
#endif
}
template <class T, FloatVector V>
VERBATIM_INLINE void store_part(T* p, const V& x, int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<__mmask16>(0xffffu >> (kLanes - count));
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, mask, (__m512)x);
  } else {
    _mm256_mask_storeu_epi16(p, mask, std::bit_cast<__m256i>(round_to_bfloat16(x)));
  }
#else
  if (count >= kLanesOf<V>) return store(p, x);
  alignas(64) T buffer[kLanes];
  store(buffer, x);
  if (count > 0) std::memcpy(p, buffer, static_cast<size_t>(count) * sizeof(T));
#endif
}

// The lanes from `count` on are set to `value`.
VERBATIM_INLINE F32x16 with_rest(const F32x16& x, int64_t count, float value) {
  return select(lane_numbers() < static_cast<int32_t>(count), x, splat(value));
}

// A NaN in `x` stays.
template <FloatVector V>
VERBATIM_INLINE V at_least(const V& x, float low) {
  return maximum(splat<V>(low), x);
}
template <FloatVector V>
VERBATIM_INLINE V at_most(const V& x, float high) {
  return minimum(splat<V>(high), x);
}

// A fixed order: halves, quarters, and so on.
VERBATIM_INLINE float sum_of_lanes(const F32x16& x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#else
  float part[kLanes];
  if constexpr (kNativeLanes == 8) {
    store_all(part, x.low + x.high);
  } else {
    store(part, x);
    for (int64_t i = 0; i < kLanes / 2; ++i) part[i] += part[i + kLanes / 2];
  }
  for (int64_t half = kLanes / 4; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) part[i] += part[i + half];
  }
  return part[0];
#endif
}

VERBATIM_INLINE float maximum_of_lanes(const F32x16& x) {
  float part[kLanes];
  store(part, x);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) part[i] = part[i] < part[i + half] ? part[i + half] : part[i];
  }
  return part[0];
}

template <class V>
VERBATIM_INLINE Element<V> first_lane(const V& x) {
  if constexpr (kIsPair<V>) {
    return first_lane(x.low);
  } else {
    return x[0];
  }
}

namespace detail {

#if defined(__AVX2__)
// The sums of the lanes of sixteen vectors of eight, which it overwrites.
using F32x8 = Vector<float, 8>;
VERBATIM_INLINE void sum_eights(F32x8* v, float* sums) {
  // Halves of two vectors side by side, then quarters of four.
  for (int i = 0; i < 8; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(v[i], v[i + 8], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 8, 9, 4, 5, 12, 13) +
           __builtin_shufflevector(v[i], v[i + 4], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 2; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 2], 0, 8, 2, 10, 4, 12, 6, 14) +
           __builtin_shufflevector(v[i], v[i + 2], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  store_all(sums, (F32x8)__builtin_shufflevector(v[0], v[1], 0, 8, 1, 9, 2, 10, 3, 11));
  store_all(sums + 8, (F32x8)__builtin_shufflevector(v[0], v[1], 4, 12, 5, 13, 6, 14, 7, 15));
}
#endif

}  // namespace detail

// The sums of the lanes of sixteen vectors that lie one behind the other, one lane for each, in a fixed order: halves,
// quarters, and so on.
template <FloatVector V = F32x16>
VERBATIM_INLINE F32x16 sums_of_lanes(const float* vectors) {
#if defined(__AVX512F__)
  F32x16 v[16];
  for (int i = 0; i < 16; ++i) v[i] = load(vectors + i * kLanes);
  // Halves of two vectors side by side, then quarters of four, and so on.
  for (int i = 0; i < 8; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
           __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
  for (int i = 0; i < 2; ++i) {
    v[i] = __builtin_shufflevector(v[i], v[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           __builtin_shufflevector(v[i], v[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
  return __builtin_shufflevector(v[0], v[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         __builtin_shufflevector(v[0], v[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#else
  alignas(64) float sums[kLanes];
#if defined(__AVX2__)
  detail::F32x8 v[16];
  for (int i = 0; i < 16; ++i) {
    v[i] = load_as<detail::F32x8>(vectors + i * kLanesOf<V>);
    if constexpr (kLanesOf<V> == kLanes) v[i] += load_as<detail::F32x8>(vectors + i * kLanes + 8);
  }
  detail::sum_eights(v, sums);
#else
  for (int64_t i = 0; i < kLanes; ++i) {
    float part[kLanesOf<V>];
    std::memcpy(part, vectors + i * kLanesOf<V>, sizeof(part));
    for (int64_t half = kLanesOf<V> / 2; half > 0; half /= 2) {
      for (int64_t k = 0; k < half; ++k) part[k] += part[k + half];
    }
    sums[i] = part[0];
  }
#endif
  return load(sums);
#endif
}

enum class ExpAccuracy { kFull, kBFloat16 };  // relative error 2e-7, or 1e-4 where the result is rounded to bfloat16

namespace detail {

// Of numbers up to 2^22, which adding 1.5 * 2^23 rounds.
template <FloatVector V>
VERBATIM_INLINE V nearest_integer(const V& x) {
#if defined(__AVX512F__)
  return (F32x16)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#else
  return (x + 12582912.0f) - 12582912.0f;
#endif
}

// Without the instruction that scales by any power of two, exponents stay between these: infinity above, 0 below.
#if defined(__AVX512F__)
inline constexpr bool kScalesAnyPower = true;
#else
inline constexpr bool kScalesAnyPower = false;
#endif
inline constexpr float kLeastPower = -126.0f, kMostPower = 129.0f;

// 2^(whole + rest) for an integer `whole` and |rest| <= 1/2: minimax polynomials in the relative error.
template <ExpAccuracy accuracy, FloatVector V>
VERBATIM_INLINE V exp2_parts(const V& whole, const V& rest) {
  V y;
  if constexpr (accuracy == ExpAccuracy::kBFloat16) {
    y = 0.0551716691f * rest + 0.242611122f;
    y = y * rest + 0.693260985f;
    y = y * rest + 0.999928074f;
  } else {
    y = 0.0013276472f * rest + 0.00967554133f;
    y = y * rest + 0.0555071327f;
    y = y * rest + 0.240221197f;
    y = y * rest + 0.693146967f;
    y = y * rest + 1.00000007f;
  }
#if defined(__AVX512F__)
  return (F32x16)_mm512_scalef_ps((__m512)y, (__m512)whole);
#else
  // In two factors, since 2^128 is not a float.
  const auto exponent = convert<Vector<int32_t, kLanesOf<V>>>(whole);
  const auto half = exponent >> 1;
  return y * bits_as<V>((half + 127) << 23) * bits_as<V>((exponent - half + 127) << 23);
#endif
}

}  // namespace detail

// 2^x. Any x: too small gives 0, too large infinity.
template <ExpAccuracy accuracy = ExpAccuracy::kFull, FloatVector V>
VERBATIM_INLINE V exp2(const V& x) {
  if constexpr (detail::kScalesAnyPower) {
    const V whole = detail::nearest_integer(x);
    return detail::exp2_parts<accuracy>(whole, V(x - whole));
  } else {
    const V bounded = at_most(at_least(x, detail::kLeastPower), detail::kMostPower);
    const V whole = detail::nearest_integer(bounded);
    return select(x < detail::kLeastPower, V{}, detail::exp2_parts<accuracy>(whole, V(bounded - whole)));
  }
}

// e^x, relative error about 2e-7. Infinities are allowed.
template <FloatVector V>
VERBATIM_INLINE V exp(const V& x) {
  constexpr float kLog2E = 1.44269504f;
  // ln 2 in two parts, so that subtracting whole * ln 2 loses nothing.
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kLeast = detail::kScalesAnyPower ? -120.0f : detail::kLeastPower / kLog2E;
  constexpr float kMost = detail::kScalesAnyPower ? 120.0f : detail::kMostPower / kLog2E;
  const V bounded = at_most(at_least(x, kLeast), kMost);
  const V whole = detail::nearest_integer(V(bounded * kLog2E));
  const V rest = (bounded - whole * kLn2High) - whole * kLn2Low;
  const V power = detail::exp2_parts<ExpAccuracy::kFull>(whole, V(rest * kLog2E));
  if constexpr (detail::kScalesAnyPower) return power;
  return select(x < kLeast, V{}, power);
}

// 1 / x for numbers that are neither tiny nor huge, relative error 2e-7.
template <FloatVector V>
VERBATIM_INLINE V reciprocal(const V& x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, F32x16>) {
    // A step of Newton's doubles the fourteen bits of the estimate; the division takes as long as sixteen products.
    const V y = (V)_mm512_rcp14_ps((__m512)x);
    return y + y * (1.0f - x * y);
  }
#endif
  return 1.0f / x;
}

// 1 / (1 + e^-x)
template <FloatVector V>
VERBATIM_INLINE V sigmoid(const V& x) {
  return 1.0f / (1.0f + exp(V(-x)));
}

template <FloatVector V>
struct SoftplusParts {
  V value;  // log(1 + e^x), relative error about 5e-7
  V slope;  // its derivative, 1 / (1 + e^-x)
};
template <FloatVector V>
VERBATIM_INLINE SoftplusParts<V> softplus(const V& x) {
  // log(1 + z) = 2 artanh(z / (2 + z)) for z = e^-|x|, which is at most 1: no cancellation and one division for both.
  const V z = exp(minimum(V(-x), x));
  const V inverse = reciprocal(V((1.0f + z) * (2.0f + z)));
  const V s = z * (1.0f + z) * inverse;
  const V t = s * s;
  // artanh(s) / s for t = s^2 <= 1/9: minimax, relative error 4e-9.
  V series = 0.140891676f * t + 0.139803013f;
  series = series * t + 0.200124551f;
  series = series * t + 0.333331573f;
  series = series * t + 1.0f;
  return {at_least(x, 0.0f) + 2.0f * s * series, select(x > 0.0f, splat<V>(1.0f), z) * (2.0f + z) * inverse};
}

// log2 x for normal x > 0, absolute error about 1e-7.
template <FloatVector V>
VERBATIM_INLINE V log2(const V& x) {
  const auto bits = bits_as<Vector<int32_t, kLanesOf<V>>>(x);
  // The exponent such that the mantissa lies in [sqrt 1/2, sqrt 2).
  const auto exponent = (bits - 0x3f3504f3) >> 23;
  const auto mantissa = bits_as<V>(bits - (exponent << 23));
  const V s = (mantissa - 1.0f) / (mantissa + 1.0f);
  const V t = s * s;
  const V series = (((1.0f / 9 * t + 1.0f / 7) * t + 1.0f / 5) * t + 1.0f / 3) * t + 1.0f;
  return convert<V>(exponent) + 2.88539008f * s * series;
}

// out[j][i] = in[i][j] for 16 rows of 16 32-bit words; strides in words.
inline void transpose_16x16(const uint32_t* in, int64_t in_stride, uint32_t* out, int64_t out_stride) {
#if defined(__AVX512F__)
  __m512i a[16];
  __m512i b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(in + i * in_stride);
  for (int i = 0; i < 8; ++i) {
    b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
    a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
  }
  // a[4 q + c] holds, in its four 128-bit parts p, rows 4q..4q+3 of column 4p + c.
  for (int c = 0; c < 4; ++c) {
    b[c] = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
    b[4 + c] = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    b[8 + c] = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    b[12 + c] = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
  }
  for (int c = 0; c < 4; ++c) {
    _mm512_storeu_si512(out + (c)*out_stride, _mm512_shuffle_i32x4(b[c], b[8 + c], 0x88));
    _mm512_storeu_si512(out + (8 + c) * out_stride, _mm512_shuffle_i32x4(b[c], b[8 + c], 0xdd));
    _mm512_storeu_si512(out + (4 + c) * out_stride, _mm512_shuffle_i32x4(b[4 + c], b[12 + c], 0x88));
    _mm512_storeu_si512(out + (12 + c) * out_stride, _mm512_shuffle_i32x4(b[4 + c], b[12 + c], 0xdd));
  }
#elif defined(__AVX2__)
  using U32x8 = uint32_t __attribute__((vector_size(32)));
  for (int corner = 0; corner < 4; ++corner) {
    const uint32_t* from = in + corner / 2 * 8 * in_stride + corner % 2 * 8;
    uint32_t* to = out + corner % 2 * 8 * out_stride + corner / 2 * 8;
    // Rows i and i + 4 side by side, the first four columns and the last: then two times two to four columns.
    U32x8 a[8], b[8];
    for (int i = 0; i < 4; ++i) {
      const U32x8 first = load_as<U32x8>(from + i * in_stride), second = load_as<U32x8>(from + (i + 4) * in_stride);
      a[i] = __builtin_shufflevector(first, second, 0, 1, 2, 3, 8, 9, 10, 11);
      a[i + 4] = __builtin_shufflevector(first, second, 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int half = 0; half < 8; half += 4) {
      for (int i = 0; i < 4; i += 2) {
        const U32x8 &first = a[half + i], &second = a[half + i + 1];
        b[half + i] = __builtin_shufflevector(first, second, 0, 8, 1, 9, 4, 12, 5, 13);
        b[half + i + 1] = __builtin_shufflevector(first, second, 2, 10, 3, 11, 6, 14, 7, 15);
      }
      for (int i = 0; i < 2; ++i) {
        const U32x8 &first = b[half + i], &second = b[half + i + 2];
        store_all(to + (half + 2 * i) * out_stride,
                  (U32x8)__builtin_shufflevector(first, second, 0, 1, 8, 9, 4, 5, 12, 13));
        store_all(to + (half + 2 * i + 1) * out_stride,
                  (U32x8)__builtin_shufflevector(first, second, 2, 3, 10, 11, 6, 7, 14, 15));
      }
    }
  }
#else
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
#endif
}

}  // namespace verbatim::nn
