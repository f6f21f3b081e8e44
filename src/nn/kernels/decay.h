#pragma once

#include "nn/kernels/vector_math.h"

// Decays of state-space layers. They are multiplied with each other over thousands of rows: what counts is not the
// error of the decay but that of its distance from 1, which exp2 does not keep.
namespace verbatim::nn {

inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2 = 0.69314718F;

// 2^(delta rate) for delta rate <= 0. Relative error 2e-7; that of 1 - 2^(delta rate) is 6e-7 before rounding.
inline F32x16 decay_of(F32x16 delta, F32x16 rate) {
  // Adding 1.5 * 2^23 rounds to an integer.
  constexpr float kRounder = 12582912.0F;
  const F32x16 whole = (delta * rate + kRounder) - kRounder;
  const F32x16 rest = delta * rate - whole;
  // Minimax polynomial through 1 at 0.
  F32x16 y = 0.00132669741F * rest + 0.00966587849F;
  y = y * rest + 0.0555066541F;
  y = y * rest + 0.240223587F;
  y = y * rest + 0.693147063F;
  y = y * rest + 1.0F;
#if defined(__AVX512F__)
  return (F32x16)_mm512_scalef_ps((__m512)y, (__m512)whole);
#else
  const I32x16 exponent = __builtin_convertvector(at_least(whole, -126.0F), I32x16);
  y = y * std::bit_cast<F32x16>((exponent + 127) << 23);
  return whole < -126.0F ? F32x16{} : y;
#endif
}

}  // namespace verbatim::nn
