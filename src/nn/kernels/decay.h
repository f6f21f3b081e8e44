#pragma once

#include "nn/kernels/vector_math.h"

// Decays of state-space layers. They are multiplied with each other over thousands of rows: what counts is not the
// error of the decay but that of its distance from 1, which exp2 does not keep.
namespace verbatim::nn {

inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2 = 0.69314718F;

// 2^(delta rate) for delta rate <= 0. Relative error 2e-7; that of 1 - 2^(delta rate) is 2e-6, most of it rounding.
template <FloatVector V>
VERBATIM_INLINE V decay_of(const V& delta, const V& rate) {
  if constexpr (kIsPair<V>) {
    return {decay_of(delta.low, rate.low), decay_of(delta.high, rate.high)};
  } else {
#if defined(__AVX512F__)
    // Sixteenths come from a table in a register, what is left takes a short polynomial. The product is rounded before
    // the nearest sixteenth is taken away, so that the additions go to the units that add and do not wait for those
    // that multiply. Adding 1.5 * 2^19 rounds to a sixteenth; its number stands in the lowest bits.
    constexpr float kRounder = 786432.0F;
    constexpr V kPowers = {1.0F,        1.04427378F, 1.09050773F, 1.13878863F, 1.18920712F, 1.24185781F,
                           1.29683955F, 1.35425555F, 1.41421356F, 1.47682615F, 1.54221083F, 1.61049033F,
                           1.68179283F, 1.75625216F, 1.83400809F, 1.91520656F};
    V exponent = delta * rate;
    hold(exponent);  // else the compiler multiplies twice, in fused additions
    const V shifted = exponent + kRounder;
    const V whole = shifted - kRounder;
    const V rest = exponent - whole;
    // (2^rest - 1) / rest, a minimax polynomial for |rest| <= 1/32.
    V slope = 0.0555041087F * rest + 0.240233552F;
    slope = slope * rest + 0.693147181F;
    const V power = (V)_mm512_permutexvar_ps(_mm512_castps_si512((__m512)shifted), (__m512)kPowers);
    return (V)_mm512_scalef_ps((__m512)((power * rest) * slope + power), (__m512)whole);
#elif defined(__AVX2__)
    // The same with eighths, all that a register holds, and with the power of two in the exponents: adding 1.5 * 2^20
    // leaves the number of the eighth in the lowest bits and the whole power above them, which 20 bits further up lie
    // where an exponent has them. The table takes away what the eighths then add there. Below 2^-126 it is 0.
    constexpr float kRounder = 1572864.0F;
    const __m256i table = _mm256_setr_epi32(0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a,
                                            0x3f7744fd, 0x3f7ac0c7);
    const V exponent = at_least(V(delta * rate), -127.0F);  // whose exponent is that of 0
    const V shifted = exponent + kRounder;
    const V rest = exponent - V(shifted - kRounder);
    // (2^rest - 1) / rest, a minimax polynomial for |rest| <= 1/16.
    V slope = 0.0555041097F * rest + 0.240254685F;
    slope = slope * rest + 0.693147182F;
    const auto bits = (__m256i)shifted;
    const V power = (V)_mm256_add_epi32(_mm256_permutevar8x32_epi32(table, bits), _mm256_slli_epi32(bits, 20));
    return (power * rest) * slope + power;
#else
    // Adding 1.5 * 2^23 rounds to an integer.
    constexpr float kRounder = 12582912.0F;
    const V exponent = delta * rate;
    const V whole = (exponent + kRounder) - kRounder;
    const V rest = exponent - whole;
    // Minimax polynomial through 1 at 0.
    V y = 0.00132669741F * rest + 0.00966587849F;
    y = y * rest + 0.0555066541F;
    y = y * rest + 0.240223587F;
    y = y * rest + 0.693147063F;
    y = y * rest + 1.0F;
    using Integers = Vector<int32_t, kLanesOf<V> >;
    const auto power = convert<Integers>(at_least(whole, -126.0F));
    y = y * bits_as<V>((power + 127) << 23);
    return select(whole < -126.0F, V{}, y);
#endif
  }
}

}  // namespace verbatim::nn
