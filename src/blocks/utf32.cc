#include "blocks/utf32.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr size_t kLanes = 16;   // characters that are converted side by side while the text is ASCII
constexpr size_t kRoom = 1024;  // units converted before they are appended: small enough for the nearest cache
constexpr char32_t kReplacementUnit = 0xFFFD;

enum class Form { kBigEndian, kNative };

template <Form kForm>
uint32_t in_form(uint32_t unit) {
  if constexpr (kForm == Form::kBigEndian && std::endian::native == std::endian::little) {
    return __builtin_bswap32(unit);
  } else {
    return unit;
  }
}

bool is_ascii(const char* data) {
  std::array<uint64_t, kLanes / 8> words;
  std::memcpy(words.data(), data, sizeof words);
  uint64_t all = 0;
  for (const uint64_t word : words) all |= word;
  return (all & 0x8080808080808080U) == 0;
}

template <Form kForm>
void widen_ascii(const char* data, uint32_t* units) {
  std::array<unsigned char, kLanes> bytes;
  std::memcpy(bytes.data(), data, kLanes);
  for (size_t i = 0; i < kLanes; ++i) units[i] = in_form<kForm>(uint32_t{bytes[i]});
}

struct Progress {
  size_t position = 0;  // in the text
  size_t units = 0;     // converted by this call
};

// Converts from `position` on until the text ends or fewer than kLanes of the units are free.
template <Form kForm>
Progress convert_some(std::string_view text, size_t position, std::array<uint32_t, kRoom>& units) {
  size_t count = 0;
  while (position < text.size() && count + kLanes <= kRoom) {
    if (static_cast<unsigned char>(text[position]) < 0x80 && position + kLanes <= text.size() &&
        is_ascii(text.data() + position)) {
      widen_ascii<kForm>(text.data() + position, units.data() + count);
      position += kLanes;
      count += kLanes;
      continue;
    }
    // Other scripts stay here for some characters, without the ASCII check.
    const size_t most = count + kLanes;
    while (position < text.size() && count < most) {
      const CodePoint unit = decode_utf8(text, position);
      units[count++] = in_form<kForm>(unit.valid ? unit.value : kEscape + unit.value);
      position += unit.size;
    }
  }
  return {position, count};
}

// Only U+0000 of the text is 0 in its stream, so it can be found afterwards.
void escape_zeros(uint32_t* units, size_t count, uint32_t escape) {
  for (size_t i = 0; i < count; ++i) units[i] = units[i] == 0 ? escape : units[i];
}

// Calls `append(units, count)` for the text, part by part.
template <Form kForm, class Append>
void convert(std::string_view text, NulForm nul, const Append& append) {
  std::array<uint32_t, kRoom> units;
  for (Progress progress; progress.position < text.size();) {
    progress = convert_some<kForm>(text, progress.position, units);
    if (nul == NulForm::kEscaped) escape_zeros(units.data(), progress.units, in_form<kForm>(uint32_t{kEscape}));
    append(units.data(), progress.units);
  }
}

// The UTF-8 of a scalar value as four bytes, of which the first text_bytes_of(unit) count.
std::array<unsigned char, 4> utf8_bytes(char32_t unit) {
  const auto lead = [&](uint32_t bits, uint32_t shift) { return static_cast<unsigned char>(bits | unit >> shift); };
  const auto next = [&](uint32_t shift) { return static_cast<unsigned char>(0x80 | (unit >> shift & 0x3F)); };
  if (unit < 0x80) return {lead(0, 0)};
  if (unit < 0x800) return {lead(0xC0, 6), next(0)};
  if (unit < 0x10000) return {lead(0xE0, 12), next(6), next(0)};
  return {lead(0xF0, 18), next(12), next(6), next(0)};
}

bool is_scalar_value(char32_t unit) { return unit <= 0x10FFFF && (unit < 0xD800 || unit > 0xDFFF); }

// Narrows kLanes units to bytes; false when they are not all ASCII.
bool narrow_ascii(const char* stream, char* out) {
  std::array<uint32_t, kLanes> units;
  std::memcpy(units.data(), stream, sizeof units);
  uint32_t all = 0;
  for (uint32_t& unit : units) {
    unit = in_form<Form::kBigEndian>(unit);
    all |= unit;
  }
  for (size_t i = 0; i < kLanes; ++i) out[i] = static_cast<char>(units[i]);
  return all < 0x80;
}

// Narrows whole units one by one, each to at most four bytes; returns how many bytes `out` has then.
size_t narrow(std::string_view stream, Escapes escapes, char* out, uint64_t& replaced) {
  size_t size = 0;
  for (size_t position = 0; position < stream.size(); position += 4) {
    char32_t unit = read_unit(stream, position);
    if (!is_scalar_value(unit)) [[unlikely]] {
      if (escapes == Escapes::kRestore && is_escape(unit)) {
        out[size++] = static_cast<char>(unit - kEscape);
        continue;
      }
      unit = kReplacementUnit;
      ++replaced;
    }
    const std::array<unsigned char, 4> character = utf8_bytes(unit);
    std::memcpy(out + size, character.data(), character.size());
    size += text_bytes_of(unit);
  }
  return size;
}

}  // namespace

void append_utf32be(std::string_view text, std::string& stream, NulForm nul) {
  convert<Form::kBigEndian>(text, nul, [&](const uint32_t* units, size_t count) {
    stream.append(reinterpret_cast<const char*>(units), 4 * count);
  });
}

void append_utf32be(std::u32string_view units, std::string& stream) {
  const size_t begin = stream.size();
  stream.resize(begin + 4 * units.size());
  for (size_t i = 0; i < units.size(); ++i) {
    const uint32_t unit = in_form<Form::kBigEndian>(uint32_t{units[i]});
    std::memcpy(stream.data() + begin + 4 * i, &unit, 4);
  }
}

std::u32string to_units(std::string_view text, NulForm nul) {
  std::u32string result;
  convert<Form::kNative>(text, nul, [&](const uint32_t* units, size_t count) { result.append(units, units + count); });
  return result;
}

uint64_t append_text(std::string_view stream, Escapes escapes, std::string& text) {
  constexpr size_t kPiece = 4 * kLanes;
  std::array<char, 4 * kRoom> bytes;
  size_t size = 0;
  uint64_t replaced = 0;
  const size_t whole = stream.size() / 4 * 4;
  for (size_t position = 0; position < whole; position += kPiece) {
    const std::string_view piece = stream.substr(position, std::min(kPiece, whole - position));
    const bool is_ascii = piece.size() == kPiece && narrow_ascii(piece.data(), bytes.data() + size);
    size += is_ascii ? kLanes : narrow(piece, escapes, bytes.data() + size, replaced);
    if (size + kPiece <= bytes.size()) continue;
    text.append(bytes.data(), size);
    size = 0;
  }
  text.append(bytes.data(), size);
  if (whole < stream.size()) {
    append_utf8(text, kReplacementUnit);
    ++replaced;
  }
  return replaced;
}

uint64_t count_text_bytes(std::string_view stream) {
  uint64_t bytes = 0;
  for (size_t position = 0; position + 4 <= stream.size(); position += 4) {
    bytes += text_bytes_of(read_unit(stream, position));
  }
  return bytes;
}

std::string published_text(std::string_view stream) {
  std::string text;
  (void)append_text(stream, Escapes::kReplace, text);
  return std::string(strip_nul(text));
}

std::string_view strip_nul(std::string_view text) {
  const size_t begin = text.find_first_not_of('\0');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of('\0') + 1 - begin);
}

}  // namespace verbatim
