#include "text/reference/utf8_reference.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace verbatim::reference {
namespace {

std::string encode_by_layout(char32_t value) {
  const int tail_bytes = value < 0x80 ? 0 : value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  if (tail_bytes == 0) return std::string(1, static_cast<char>(value));
  static constexpr int kLeadBits[] = {0x00, 0xC0, 0xE0, 0xF0};
  std::string text(1, static_cast<char>(kLeadBits[tail_bytes] + static_cast<int>(value >> (6 * tail_bytes))));
  for (int i = tail_bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(0x80 + ((value >> (6 * i)) % 64)));
  return text;
}

}  // namespace

Utf8Reference::Utf8Reference() {
  characters_.reserve(1200000);
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    const std::string bytes = encode_by_layout(value);
    for (size_t size = 1; size < bytes.size(); ++size) {
      if (!beginnings_.contains(std::string_view(bytes).substr(0, size))) beginnings_.insert(bytes.substr(0, size));
    }
    characters_.emplace(bytes, value);
  }
}

CodePoint Utf8Reference::decode(std::string_view text, size_t position) const {
  for (size_t size = 1; size <= 4 && position + size <= text.size(); ++size) {
    const auto found = characters_.find(std::string(text.substr(position, size)));
    if (found != characters_.end()) return {found->second, static_cast<uint8_t>(size), true};
  }
  return {static_cast<unsigned char>(text[position]), 1, false};
}

Utf8Result Utf8Reference::validate(std::string_view text) const {
  size_t position = 0;
  while (position < text.size()) {
    const CodePoint code_point = decode(text, position);
    if (code_point.valid) {
      position += code_point.size;
      continue;
    }
    // The header bits say how long the character wants to be; then the first rule that is broken.
    const int header_bits = std::countl_one(static_cast<uint8_t>(text[position]));
    if (header_bits >= 5) return {Utf8Error::kHeaderBits, position};
    if (header_bits == 1) return {Utf8Error::kTooLong, position};
    uint32_t value = static_cast<uint8_t>(text[position]) & (0x7Fu >> header_bits);
    for (int i = 1; i < header_bits; ++i) {
      const size_t at = position + static_cast<size_t>(i);
      if (at >= text.size() || std::countl_one(static_cast<uint8_t>(text[at])) != 1) {
        return {Utf8Error::kTooShort, position};
      }
      value = value * 64 + static_cast<uint8_t>(text[at]) % 64;
    }
    if (value > 0x10FFFF) return {Utf8Error::kTooLarge, position};
    if (value >= 0xD800 && value <= 0xDFFF && header_bits == 3) return {Utf8Error::kSurrogate, position};
    return {Utf8Error::kOverlong, position};
  }
  return {Utf8Error::kNone, text.size()};
}

size_t Utf8Reference::complete_prefix_length(std::string_view bytes) const {
  for (size_t held = std::min<size_t>(3, bytes.size()); held > 0; --held) {
    if (beginnings_.contains(bytes.substr(bytes.size() - held))) return bytes.size() - held;
  }
  return bytes.size();
}

}  // namespace verbatim::reference
