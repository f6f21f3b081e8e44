#pragma once

#include <cstdint>

namespace verbatim {

// A bijection of 64-bit numbers in which every bit of the argument flips every bit of the result half of the time.
// Stafford's variant 13, the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, 2014).
[[nodiscard]] constexpr uint64_t mix_bits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace verbatim
