#include "formats/pickle_bytes.h"

#include <algorithm>
#include <array>

#include "text/utf8.h"

namespace verbatim::pickle {

namespace {

// A byte that is not a known opcode, or one of these: what it would do, for the message.
struct RefusedOpcode {
  unsigned char code;
  std::string_view name;
};
constexpr std::array<RefusedOpcode, 11> kRefusedOpcodes = {{
    {'S', "STRING (text of Python 2)"},
    {'P', "PERSID"},
    {'i', "INST (makes an object)"},
    {'o', "OBJ (makes an object)"},
    {0x82, "EXT1 (a registered name)"},
    {0x83, "EXT2 (a registered name)"},
    {0x84, "EXT4 (a registered name)"},
    {0x92, "NEWOBJ_EX (makes an object)"},
    {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
}};

std::string_view as_text(std::span<const std::byte> part) {
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

}  // namespace

std::string Bytes::where() const { return fmt::format("{}: byte {}", name_, at_); }

void Bytes::refuse_opcode(unsigned char opcode) const {
  for (const RefusedOpcode& refused : kRefusedOpcodes) {
    if (refused.code == opcode) {
      refuse("expected plain data or tensors, got the opcode {} (0x{:02X}), which is not read", refused.name, opcode);
    }
  }
  refuse("expected a pickle opcode, got 0x{:02X}; this is no pickle, or it is damaged", opcode);
}

void Bytes::expect_end() const {
  if (left() == 0) return;
  throw_input("{}: expected the pickle to end with the file, got {} more bytes at byte {}", name_, left(), position_);
}

std::span<const std::byte> Bytes::read(uint64_t size) {
  if (size > bytes_.size() - position_) {
    refuse("expected {} bytes at byte {}, got {} up to the end; the file is cut short or damaged", size, position_,
           bytes_.size() - position_);
  }
  const auto part = bytes_.subspan(position_, size);
  position_ += size;
  return part;
}

uint64_t Bytes::read_number(size_t size) {
  uint64_t number = 0;
  const auto part = read(size);
  for (size_t i = size; i-- > 0;) number = number << 8 | std::to_integer<uint64_t>(part[i]);
  return number;
}

int64_t Bytes::read_long(uint64_t size) {
  const auto part = read(size);
  const auto byte = [&](size_t i) { return std::to_integer<uint8_t>(part[i]); };
  const bool is_negative = size > 0 && byte(size - 1) >= 0x80;
  const uint8_t filler = is_negative ? 0xFF : 0;
  uint64_t number = is_negative ? ~uint64_t{0} : 0;
  for (size_t i = std::min<uint64_t>(size, 8); i-- > 0;) number = number << 8 | byte(i);
  const auto value = static_cast<int64_t>(number);
  bool fits = size <= 8 || (value < 0) == is_negative;
  for (size_t i = 8; i < size; ++i) fits = fits && byte(i) == filler;
  if (!fits) refuse("expected an integer of at most 64 bits, got one of {} bytes", size);
  return value;
}

std::string_view Bytes::read_text(uint64_t size) {
  const std::string_view text = as_text(read(size));
  if (!is_valid_utf8(text)) refuse("expected text in UTF-8, got {}", quote_bytes(text));
  return text;
}

std::string_view Bytes::read_line() {
  const std::string_view rest = as_text(bytes_.subspan(position_));
  const size_t size = rest.find('\n');
  if (size == std::string_view::npos) refuse("expected a line, got the end; the file is cut short or damaged");
  position_ += size + 1;
  return rest.substr(0, size);
}

std::string Bytes::decode_escaped(std::string_view line) const {
  std::string text;
  for (size_t i = 0; i < line.size();) {
    const bool is_short = line.substr(i).starts_with("\\u");
    if (!is_short && !line.substr(i).starts_with("\\U")) {
      append_utf8(text, static_cast<unsigned char>(line[i++]));
      continue;
    }
    const std::string_view digits = line.substr(i + 2, is_short ? 4 : 8);
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || end != digits.data() + digits.size() || digits.size() != (is_short ? 4 : 8) ||
        code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      refuse("expected a character after {}, got {}", line.substr(i, 2), quote_bytes(digits));
    }
    append_utf8(text, code);
    i += 2 + digits.size();
  }
  return text;
}

}  // namespace verbatim::pickle
