#include "text/utf8.h"

#include <cstring>

#include "base/error.h"

namespace verbatim {
namespace {

// Bytes before the first one above 0x7F, eight at a time.
size_t ascii_run(const char* data, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < size && static_cast<unsigned char>(data[i]) < 0x80) ++i;
  return i;
}

// Names the mistake of a unit that decode_utf8 refused.
Utf8Error classify(std::string_view rest) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(rest[i]); };
  const unsigned char lead = byte(0);
  if ((lead & 0xC0) == 0x80) return Utf8Error::kTooLong;
  if (lead >= 0xF8) return Utf8Error::kHeaderBits;
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (rest.size() < size) return Utf8Error::kTooShort;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return Utf8Error::kTooShort;
  }
  if (size == 2) return Utf8Error::kOverlong;
  if (size == 3) return lead == 0xE0 ? Utf8Error::kOverlong : Utf8Error::kSurrogate;
  return lead == 0xF0 ? Utf8Error::kOverlong : Utf8Error::kTooLarge;
}

// Whether `tail` begins a well-formed character but does not finish it.
bool is_unfinished(std::string_view tail) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(tail[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0xC2 || lead > 0xF4) return false;
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (tail.size() >= size) return false;
  for (size_t i = 1; i < tail.size(); ++i) {
    if ((byte(i) & 0xC0) != 0x80) return false;
  }
  if (tail.size() == 1) return true;
  // The second byte already decides about overlong forms, surrogates and values that are too large.
  switch (lead) {
    case 0xE0:
      return byte(1) >= 0xA0;
    case 0xED:
      return byte(1) < 0xA0;
    case 0xF0:
      return byte(1) >= 0x90;
    case 0xF4:
      return byte(1) < 0x90;
    default:
      return true;
  }
}

}  // namespace

std::string_view describe(Utf8Error error) {
  switch (error) {
    case Utf8Error::kNone:
      return "no error";
    case Utf8Error::kHeaderBits:
      return "a byte from 0xF8 to 0xFF, which begins no character";
    case Utf8Error::kTooShort:
      return "a character is cut short";
    case Utf8Error::kTooLong:
      return "a continuation byte without a character before it";
    case Utf8Error::kOverlong:
      return "a character is encoded in more bytes than it needs";
    case Utf8Error::kTooLarge:
      return "a character above U+10FFFF";
    case Utf8Error::kSurrogate:
      return "a surrogate (U+D800 to U+DFFF) was encoded";
  }
  return "unknown error";
}

Utf8Result validate_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    position += ascii_run(text.data() + position, text.size() - position);
    // Text in other scripts stays in this loop: several characters in a row without the ASCII check.
    while (position < text.size() && static_cast<unsigned char>(text[position]) >= 0x80) {
      const CodePoint code_point = decode_utf8(text, position);
      if (!code_point.valid) return {classify(text.substr(position)), position};
      position += code_point.size;
    }
  }
  return {Utf8Error::kNone, text.size()};
}

void append_utf8(std::string& text, char32_t value) {
  VERBATIM_ASSERT(value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF), "U+{:X} is no scalar value",
                  static_cast<uint32_t>(value));
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

std::string encode_utf8(char32_t value) {
  std::string text;
  append_utf8(text, value);
  return text;
}

size_t count_utf8_units(std::string_view text) {
  size_t count = 0;
  for (size_t position = 0; position < text.size(); ++count) position += decode_utf8(text, position).size;
  return count;
}

size_t utf8_boundary_before(std::string_view text, size_t position) {
  VERBATIM_ASSERT(position <= text.size(), "position {} is behind the text's {} bytes", position, text.size());
  if (position == text.size()) return position;
  for (size_t back = 1; back <= 3 && back <= position; ++back) {
    const unsigned char byte = static_cast<unsigned char>(text[position - back]);
    if ((byte & 0xC0) == 0x80) continue;
    return decode_utf8(text, position - back).size > back ? position - back : position;
  }
  return position;
}

size_t utf8_boundary_after(std::string_view text, size_t position) {
  const size_t before = utf8_boundary_before(text, position);
  return before == position ? position : before + decode_utf8(text, before).size;
}

size_t complete_prefix_length(std::string_view bytes) {
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const unsigned char byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    return is_unfinished(bytes.substr(bytes.size() - back)) ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const CodePoint code_point = decode_utf8(text, position);
    if (code_point.valid) {
      out.append(text, position, code_point.size);
    } else {
      out += "\xEF\xBF\xBD";
    }
    position += code_point.size;
  }
  return out;
}

}  // namespace verbatim
