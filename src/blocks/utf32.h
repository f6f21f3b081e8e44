#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace verbatim {

// Any byte string as UTF-32-BE and back: four bytes for each unit of the text, the most significant first, no byte
// order mark. For every text, append_text of append_utf32be(text) is the text.
//
// Units are the code points of the text. A byte that belongs to no well-formed character (overlong and truncated forms,
// encoded surrogates, values above U+10FFFF, stray bytes; see text/utf8.h) is a unit of its own, kEscape + the byte: a
// number that Unicode will never use. Its first byte is 0 as that of every code point.
inline constexpr char32_t kEscape = 0x110000;

// What U+0000 of a text becomes.
enum class NulForm : uint8_t {
  kZero,     // 0, as published; 0 is padding, too, so the length of the text must be kept beside the stream
  kEscaped,  // kEscape: then every 0 in the stream is padding
};

// Appends the stream of a text.
void append_utf32be(std::string_view text, std::string& stream, NulForm nul = NulForm::kZero);
// Appends units as they are, whatever they are.
void append_utf32be(std::u32string_view units, std::string& stream);

// The units of a text.
[[nodiscard]] std::u32string to_units(std::string_view text, NulForm nul = NulForm::kZero);

// What becomes of escapes (kEscape, and kEscape + 0x80 to kEscape + 0xFF) on the way back.
enum class Escapes : uint8_t {
  kRestore,  // the byte they stand for
  kReplace,  // U+FFFD, as published: the result is valid UTF-8 whatever a model has written
};

// Appends the text of a stream. What stands for no text (surrogates, numbers above U+10FFFF, a rest of one to three
// bytes at the end) becomes U+FFFD each; returns how many did.
uint64_t append_text(std::string_view stream, Escapes escapes, std::string& text);

// The unit at byte `position` of a stream of which at least four bytes are left.
[[nodiscard]] inline char32_t read_unit(std::string_view stream, size_t position) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(stream.data()) + position;
  return char32_t{bytes[0]} << 24 | char32_t{bytes[1]} << 16 | char32_t{bytes[2]} << 8 | char32_t{bytes[3]};
}

[[nodiscard]] inline bool is_escape(char32_t unit) { return unit - (kEscape + 0x80) < 0x80 || unit == kEscape; }

// The bytes of text that append_text makes of a unit with kRestore. Without branches, so that loops over it are
// vectors.
[[nodiscard]] inline uint32_t text_bytes_of(char32_t unit) {
  return 1U + uint32_t{unit >= 0x80} + uint32_t{unit >= 0x800} + uint32_t{unit >= 0x10000} - uint32_t{unit >= kEscape} -
         2U * uint32_t{is_escape(unit)};
}

// The sum of text_bytes_of() over the units of a stream.
[[nodiscard]] uint64_t count_text_bytes(std::string_view stream);

// As published: the text of a stream with U+FFFD for all that is no text and without U+0000 at both ends. Not lossless.
[[nodiscard]] std::string published_text(std::string_view stream);
// `text` without NUL bytes at both ends.
[[nodiscard]] std::string_view strip_nul(std::string_view text);

}  // namespace verbatim
