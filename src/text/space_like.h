#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace verbatim {

// SpaceByte's rule on single bytes: everything but ASCII letters, digits and UTF-8 continuation bytes is "space-like"
// (spaces, punctuation, controls, and the first byte of every character outside ASCII).
inline constexpr std::array<bool, 256> kSpaceLike = [] {
  std::array<bool, 256> table{};
  for (int byte = 0; byte < 256; ++byte) {
    const bool letter_or_digit =
        (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    const bool continuation = byte >= 0x80 && byte <= 0xBF;
    table[static_cast<size_t>(byte)] = !letter_or_digit && !continuation;
  }
  return table;
}();

[[nodiscard]] constexpr bool is_space_like(uint8_t byte) { return kSpaceLike[byte]; }

// Whether a patch starts at a byte: it is space-like and the byte before it is not. (A document's first position is a
// start in any case; that is the caller's business.)
[[nodiscard]] constexpr bool starts_space_patch(uint8_t previous, uint8_t byte) {
  return kSpaceLike[byte] && !kSpaceLike[previous];
}

}  // namespace verbatim
