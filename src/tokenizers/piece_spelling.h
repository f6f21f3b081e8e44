#pragma once

#include <string>
#include <string_view>

namespace verbatim {

// How SentencePiece-like vocabularies spell things that are not plain text.

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for a space
inline constexpr char32_t kSpaceMarkValue = 0x2581;

[[nodiscard]] std::string spaces_for_marks(std::string_view piece);
[[nodiscard]] std::string marks_for_spaces(std::string_view text);
// The byte of a piece "<0xNN>" (two upper-case hexadecimal digits), or -1.
[[nodiscard]] int byte_of_piece(std::string_view piece);

}  // namespace verbatim
