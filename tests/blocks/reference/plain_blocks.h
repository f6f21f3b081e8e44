#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blocks/borders.h"
#include "blocks/utf32.h"

// The definitions that src/blocks is tested against: short, slow, and one step after the other.
namespace verbatim::reference {

[[nodiscard]] std::u32string plain_units(std::string_view text, NulForm nul);
[[nodiscard]] std::string plain_stream(std::u32string_view units);
struct PlainText {
  std::string text;
  uint64_t replaced = 0;
};
[[nodiscard]] PlainText plain_text(std::string_view stream, Escapes escapes);

// Stretches of `block_bytes` bytes; the last one may be shorter.
[[nodiscard]] std::vector<std::string> plain_cut(const std::string& stream, size_t block_bytes);
// The numbers of units after which a block ends; every window is hashed anew.
[[nodiscard]] std::vector<size_t> plain_borders(std::u32string_view units, const BorderOptions& options);

}  // namespace verbatim::reference
