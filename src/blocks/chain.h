#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// How many parts each level of a tokun model joins to one, from the bytes up: "4x16" joins the 4 bytes of a code point
// and then 16 code points. Everything else follows from the factors.
struct Chain {
  std::vector<uint32_t> factors;

  // T, the bytes of UTF-32 in one block: the product of the factors.
  [[nodiscard]] uint32_t block_bytes() const;
  // C = T / 4. A block of a chain such as "1" or "2" is a part of a code point.
  [[nodiscard]] double block_characters() const { return block_bytes() / 4.0; }
  // "4x16"
  [[nodiscard]] std::string name() const;

  friend bool operator==(const Chain&, const Chain&) = default;
};

inline constexpr uint32_t kMostBlockBytes = 1 << 16;
inline constexpr size_t kMostFactors = 16;

// Reads "4x4x4". Throws InputError for anything but whole numbers from 1 joined by x, and for chains beyond the limits
// above.
[[nodiscard]] Chain parse_chain(std::string_view text);

// Throws InputError for chains that parse_chain would refuse.
void check_chain(const Chain& chain);

// The shape of `blocks` blocks as a grouped tensor, as the goldens of the project have it: {blocks, G1, G2, ...}.
[[nodiscard]] std::vector<uint64_t> grouped_shape(const Chain& chain, uint64_t blocks);

}  // namespace verbatim
