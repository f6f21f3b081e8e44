#pragma once

#include "nn/kernels/vector_math.h"

// Decays of state-space layers. They are multiplied with each other over thousands of rows: what counts is not the
// error of the decay but that of its distance from 1, which exp2 does not keep.
namespace verbatim::nn {

inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2 = 0.69314718F;

#if defined(__AVX512F__)

// 2^(delta rate) for delta rate <= 0. Relative error 2e-7; that of 1 - 2^(delta rate) is 2e-6, most of it rounding.
// Sixteenths come from a table in a register, what is left takes a short polynomial. The product is rounded before the
// nearest sixteenth is taken away, so that the additions go to the units that add and do not wait for those that
// multiply.
inline F32x16 decay_of(F32x16 delta, F32x16 rate) {
  // Adding 1.5 * 2^19 rounds to a sixteenth; its number stands in the lowest bits.
  constexpr float kRounder = 786432.0F;
  constexpr F32x16 kPowers = {1.0F,        1.04427378F, 1.09050773F, 1.13878863F, 1.18920712F, 1.24185781F,
                              1.29683955F, 1.35425555F, 1.41421356F, 1.47682615F, 1.54221083F, 1.61049033F,
                              1.68179283F, 1.75625216F, 1.83400809F, 1.91520656F};
  F32x16 exponent = delta * rate;
  asm("" : "+v"(exponent));  // else the compiler multiplies twice, in fused additions
  const F32x16 shifted = exponent + kRounder;
  const F32x16 whole = shifted - kRounder;
  const F32x16 rest = exponent - whole;
  // (2^rest - 1) / rest, a minimax polynomial for |rest| <= 1/32.
  F32x16 slope = 0.0555041087F * rest + 0.240233552F;
  slope = slope * rest + 0.693147181F;
  const F32x16 power = (F32x16)_mm512_permutexvar_ps(_mm512_castps_si512((__m512)shifted), (__m512)kPowers);
  return (F32x16)_mm512_scalef_ps((__m512)((power * rest) * slope + power), (__m512)whole);
}

#else

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
  const I32x16 exponent = __builtin_convertvector(at_least(whole, -126.0F), I32x16);
  y = y * std::bit_cast<F32x16>((exponent + 127) << 23);
  return whole < -126.0F ? F32x16{} : y;
}

#endif

}  // namespace verbatim::nn
