#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace verbatim {

// The alphabet in which byte-level vocabularies are written: a printable character for every byte. Printable Latin-1
// characters stand for themselves, the other 68 bytes, in order, for U+0100 and following.
[[nodiscard]] char32_t byte_level_character(uint8_t byte);
// The bytes as they are spelled in a vocabulary.
[[nodiscard]] std::string to_byte_level(std::string_view bytes);
// The way back; nothing when a character is not in the alphabet.
[[nodiscard]] std::optional<std::string> from_byte_level(std::string_view spelled);

}  // namespace verbatim
