#include "tokenizers/byte_level.h"

#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr size_t kNumSubstitutes = 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, kFirstSubstitute + kNumSubstitutes> byte{};
};

constexpr Alphabet kAlphabet = [] {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t substitute = kFirstSubstitute;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t character = stands_for_itself(byte) ? byte : substitute++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}();

}  // namespace

char32_t byte_level_character(uint8_t byte) { return kAlphabet.character[byte]; }

std::string to_byte_level(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(spelled, kAlphabet.character[static_cast<uint8_t>(byte)]);
  return spelled;
}

std::optional<std::string> from_byte_level(std::string_view spelled) {
  std::string bytes;
  bytes.reserve(spelled.size());
  for (const Utf8Unit& unit : Utf8Units(spelled)) {
    const char32_t character = unit.code_point.value;
    if (!unit.code_point.valid || character >= kAlphabet.byte.size() || kAlphabet.byte[character] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kAlphabet.byte[character]));
  }
  return bytes;
}

}  // namespace verbatim
