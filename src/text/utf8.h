#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

namespace verbatim {

// UTF-8 as text really comes: any byte string can be walked through; a byte that belongs to no well-formed character is
// a unit of its own. Well-formed means the Unicode standard's table 3-7 (no overlong forms, no surrogates, at most
// U+10FFFF).

// What is wrong at a position. kTooShort covers both a character cut off by the end and one cut off by a byte that does
// not continue it.
enum class Utf8Error : uint8_t { kNone, kHeaderBits, kTooShort, kTooLong, kOverlong, kTooLarge, kSurrogate };

struct Utf8Result {
  Utf8Error error = Utf8Error::kNone;
  size_t position = 0;  // first byte of the bad character; the text's size when there is none

  [[nodiscard]] explicit operator bool() const { return error == Utf8Error::kNone; }
};

// One sentence for people, for instance "a surrogate (U+D800 to U+DFFF) was encoded".
[[nodiscard]] std::string_view describe(Utf8Error error);

// The first error, or kNone.
[[nodiscard]] Utf8Result validate_utf8(std::string_view text);
[[nodiscard]] inline bool is_valid_utf8(std::string_view text) { return static_cast<bool>(validate_utf8(text)); }

// One step forward: a character (1 to 4 bytes, valid), or one byte that belongs to none (`value` is then the byte).
struct CodePoint {
  char32_t value = 0;
  uint8_t size = 0;
  bool valid = false;
};

// The unit at `position`, which must be inside the text.
[[nodiscard]] inline CodePoint decode_utf8(std::string_view text, size_t position) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data()) + position;
  const size_t left = text.size() - position;
  const unsigned char lead = bytes[0];
  if (lead < 0x80) return {lead, 1, true};
  const auto continues = [&](size_t i) { return (bytes[i] & 0xC0) == 0x80; };
  if (lead >= 0xC2 && lead <= 0xDF) {
    if (left >= 2 && continues(1)) return {static_cast<char32_t>((lead & 0x1F) << 6 | (bytes[1] & 0x3F)), 2, true};
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    if (left >= 3 && continues(1) && continues(2)) {
      const char32_t value = static_cast<char32_t>((lead & 0x0F) << 12 | (bytes[1] & 0x3F) << 6 | (bytes[2] & 0x3F));
      if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) return {value, 3, true};
    }
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    if (left >= 4 && continues(1) && continues(2) && continues(3)) {
      const char32_t value = static_cast<char32_t>((lead & 0x07) << 18 | (bytes[1] & 0x3F) << 12 |
                                                   (bytes[2] & 0x3F) << 6 | (bytes[3] & 0x3F));
      if (value >= 0x10000 && value <= 0x10FFFF) return {value, 4, true};
    }
  }
  return {lead, 1, false};
}

// Appends the character; `value` must be a scalar value (at most U+10FFFF and no surrogate; InternalError otherwise).
void append_utf8(std::string& text, char32_t value);
[[nodiscard]] std::string encode_utf8(char32_t value);

// for (const Utf8Unit unit : Utf8Units(text)): every unit with its first byte; the units tile the text.
struct Utf8Unit {
  CodePoint code_point;
  size_t position = 0;
};

class Utf8Units {
 public:
  class Iterator {
   public:
    using value_type = Utf8Unit;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::forward_iterator_tag;

    Iterator() = default;
    Iterator(std::string_view text, size_t position) : text_(text), unit_{{}, position} { read(); }
    const Utf8Unit& operator*() const { return unit_; }
    const Utf8Unit* operator->() const { return &unit_; }
    Iterator& operator++() {
      unit_.position += unit_.code_point.size;
      read();
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.unit_.position == b.unit_.position; }

   private:
    void read() {
      if (unit_.position < text_.size()) unit_.code_point = decode_utf8(text_, unit_.position);
    }

    std::string_view text_;
    Utf8Unit unit_;
  };

  explicit Utf8Units(std::string_view text) : text_(text) {}
  [[nodiscard]] Iterator begin() const { return {text_, 0}; }
  [[nodiscard]] Iterator end() const { return {text_, text_.size()}; }

 private:
  std::string_view text_;
};

// The number of units (characters, and bytes that belong to none).
[[nodiscard]] size_t count_utf8_units(std::string_view text);

// The last unit boundary at or before `position`, and the first at or after it; `position` <= text.size().
[[nodiscard]] size_t utf8_boundary_before(std::string_view text, size_t position);
[[nodiscard]] size_t utf8_boundary_after(std::string_view text, size_t position);

// For streams: how many leading bytes can be shown now. At most the last three bytes are held back, and only while they
// are the beginning of a well-formed character; invalid bytes never block what follows them.
[[nodiscard]] size_t complete_prefix_length(std::string_view bytes);

// Every byte outside a character becomes U+FFFD; for places that only take valid text (JSON, terminals).
[[nodiscard]] std::string replace_invalid_utf8(std::string_view text);

}  // namespace verbatim
