#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// Sixteen floats at a time: loads and stores of float32 and bfloat16, exponentials, a 16 x 16 transposition. Written
// with the compiler's vector extensions, so that any machine runs it; AVX-512 gets its own instructions where they
// help.
namespace verbatim::nn {

inline constexpr int64_t kLanes = 16;

using F32x16 = float __attribute__((vector_size(64)));
using I32x16 = int32_t __attribute__((vector_size(64)));
using U32x16 = uint32_t __attribute__((vector_size(64)));
using U16x16 = uint16_t __attribute__((vector_size(32)));
using BFloat16Bits = uint16_t;  // the upper half of a float32

inline F32x16 splat(float x) { return x - F32x16{}; }
inline I32x16 splat_int(int32_t x) { return x - I32x16{}; }

inline F32x16 load(const float* p) {
  F32x16 x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline void store(float* p, F32x16 x) { std::memcpy(p, &x, sizeof(x)); }

inline F32x16 load(const BFloat16Bits* p) {
  U16x16 bits;
  std::memcpy(&bits, p, sizeof(bits));
  return std::bit_cast<F32x16>(__builtin_convertvector(bits, U32x16) << 16);
}

// The upper halves, rounded to nearest even; NaN stays NaN.
inline U16x16 round_to_bfloat16(F32x16 x) {
#if defined(__AVX512BF16__)
  return std::bit_cast<U16x16>(_mm512_cvtneps_pbh((__m512)x));
#else
  const auto bits = std::bit_cast<U32x16>(x);
  const U32x16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const U32x16 nan = (bits >> 16) | 0x40u;
  const U32x16 chosen = x == x ? rounded : nan;
  return __builtin_convertvector(chosen, U16x16);
#endif
}
inline void store(BFloat16Bits* p, F32x16 x) {
  const U16x16 bits = round_to_bfloat16(x);
  std::memcpy(p, &bits, sizeof(bits));
}

// The first `count` lanes only (1 to 16); the others read as zero and are not written.
template <class T>
F32x16 load_part(const T* p, int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<__mmask16>(0xffffu >> (kLanes - count));
  if constexpr (sizeof(T) == 4) {
    return (F32x16)_mm512_maskz_loadu_ps(mask, p);
  } else {
    return (F32x16)_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
  }
#else
  if (count >= kLanes) return load(p);
  alignas(64) T buffer[kLanes] = {};
  std::memcpy(buffer, p, count * sizeof(T));
  return load(buffer);
#endif
}
template <class T>
void store_part(T* p, F32x16 x, int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<__mmask16>(0xffffu >> (kLanes - count));
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, mask, (__m512)x);
  } else {
    _mm256_mask_storeu_epi16(p, mask, std::bit_cast<__m256i>(round_to_bfloat16(x)));
  }
#else
  if (count >= kLanes) return store(p, x);
  alignas(64) T buffer[kLanes];
  store(buffer, x);
  std::memcpy(p, buffer, count * sizeof(T));
#endif
}

// A NaN in `x` stays.
inline F32x16 at_least(F32x16 x, float low) { return x < low ? splat(low) : x; }
inline F32x16 at_most(F32x16 x, float high) { return x > high ? splat(high) : x; }
inline F32x16 maximum(F32x16 a, F32x16 b) {
#if defined(__AVX512F__)
  return (F32x16)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}

// A fixed order: halves, quarters, and so on.
inline float sum_of_lanes(F32x16 x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#else
  float part[kLanes];
  store(part, x);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) part[i] += part[i + half];
  }
  return part[0];
#endif
}

// The sums of the lanes of sixteen vectors, one lane for each, in a fixed order. `vectors`: 256 floats.
inline F32x16 sums_of_lanes(const float* vectors) {
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
}

enum class ExpAccuracy { kFull, kBFloat16 };  // relative error 1e-7, or 1e-4 where the result is rounded to bfloat16

namespace detail {

inline F32x16 nearest_integer(F32x16 x) {
#if defined(__AVX512F__)
  return (F32x16)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#else
  // Adding 1.5 * 2^23 rounds; larger values are out of range for the callers.
  const F32x16 bounded = at_most(at_least(x, -4e6f), 4e6f);
  return (bounded + 12582912.0f) - 12582912.0f;
#endif
}

// 2^(whole + rest) for an integer `whole` and |rest| <= 1/2: minimax polynomials in the relative error.
template <ExpAccuracy accuracy>
inline F32x16 exp2_parts(F32x16 whole, F32x16 rest) {
  F32x16 y;
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
  const I32x16 exponent = __builtin_convertvector(at_most(at_least(whole, -126.0f), 128.0f), I32x16);
  const I32x16 half = exponent >> 1;
  y = y * std::bit_cast<F32x16>((half + 127) << 23) * std::bit_cast<F32x16>((exponent - half + 127) << 23);
  return whole < -126.0f ? splat(0) : y;
#endif
}

}  // namespace detail

// 2^x. Any finite x: too small gives 0, too large infinity.
template <ExpAccuracy accuracy = ExpAccuracy::kFull>
inline F32x16 exp2(F32x16 x) {
  const F32x16 whole = detail::nearest_integer(x);
  return detail::exp2_parts<accuracy>(whole, x - whole);
}

// e^x, relative error about 2e-7. Infinities are allowed.
inline F32x16 exp(F32x16 x) {
  constexpr float kLog2E = 1.44269504f;
  // ln 2 in two parts, so that subtracting whole * ln 2 loses nothing.
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  const F32x16 bounded = at_most(at_least(x, -120.0f), 120.0f);
  const F32x16 whole = detail::nearest_integer(bounded * kLog2E);
  const F32x16 rest = (bounded - whole * kLn2High) - whole * kLn2Low;
  return detail::exp2_parts<ExpAccuracy::kFull>(whole, rest * kLog2E);
}

// 1 / (1 + e^-x)
inline F32x16 sigmoid(F32x16 x) { return 1.0f / (1.0f + exp(-x)); }

struct SoftplusParts {
  F32x16 value;  // log(1 + e^x), relative error about 5e-7
  F32x16 slope;  // its derivative, 1 / (1 + e^-x)
};
inline SoftplusParts softplus(F32x16 x) {
  // log(1 + z) = 2 artanh(z / (2 + z)) for z = e^-|x|, which is at most 1: no cancellation and one division for both.
  const F32x16 z = exp(x > 0.0f ? -x : x);
  const F32x16 inverse = 1.0f / ((1.0f + z) * (2.0f + z));
  const F32x16 s = z * (1.0f + z) * inverse;
  const F32x16 t = s * s;
  F32x16 series = 1.0f / 13 * t + 1.0f / 11;
  series = series * t + 1.0f / 9;
  series = series * t + 1.0f / 7;
  series = series * t + 1.0f / 5;
  series = series * t + 1.0f / 3;
  series = series * t + 1.0f;
  return {at_least(x, 0.0f) + 2.0f * s * series, (x > 0.0f ? splat(1.0f) : z) * (2.0f + z) * inverse};
}

// log2 x for normal x > 0, absolute error about 1e-7.
inline F32x16 log2(F32x16 x) {
  const auto bits = std::bit_cast<I32x16>(x);
  // The exponent such that the mantissa lies in [sqrt 1/2, sqrt 2).
  const I32x16 exponent = (bits - 0x3f3504f3) >> 23;
  const auto mantissa = std::bit_cast<F32x16>(bits - (exponent << 23));
  const F32x16 s = (mantissa - 1.0f) / (mantissa + 1.0f);
  const F32x16 t = s * s;
  const F32x16 series = (((1.0f / 9 * t + 1.0f / 7) * t + 1.0f / 5) * t + 1.0f / 3) * t + 1.0f;
  return __builtin_convertvector(exponent, F32x16) + 2.88539008f * s * series;
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
#else
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
#endif
}

}  // namespace verbatim::nn
