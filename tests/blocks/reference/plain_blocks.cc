#include "blocks/reference/plain_blocks.h"

#include <algorithm>

#include "base/mix.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace verbatim::reference {

std::u32string plain_units(std::string_view text, NulForm nul) {
  std::u32string units;
  for (const Utf8Unit& unit : Utf8Units(text)) {
    if (!unit.code_point.valid) {
      units.push_back(0x110000 + unit.code_point.value);
    } else if (unit.code_point.value == 0 && nul == NulForm::kEscaped) {
      units.push_back(0x110000);
    } else {
      units.push_back(unit.code_point.value);
    }
  }
  return units;
}

std::string plain_stream(std::u32string_view units) {
  std::string stream;
  for (const char32_t unit : units) {
    for (int shift = 24; shift >= 0; shift -= 8) stream.push_back(static_cast<char>(unit >> shift & 0xFF));
  }
  return stream;
}

PlainText plain_text(std::string_view stream, Escapes escapes) {
  PlainText result;
  while (!stream.empty()) {
    uint32_t unit = 0xFFFFFFFF;
    if (stream.size() >= 4) {
      unit = 0;
      for (size_t i = 0; i < 4; ++i) unit = unit * 256 + static_cast<unsigned char>(stream[i]);
    }
    if (unit < 0xD800 || (unit > 0xDFFF && unit < 0x110000)) {
      append_utf8(result.text, unit);
    } else if (escapes == Escapes::kRestore && (unit == 0x110000 || (unit >= 0x110080 && unit <= 0x1100FF))) {
      result.text.push_back(static_cast<char>(unit & 0xFF));
    } else {
      append_utf8(result.text, 0xFFFD);
      ++result.replaced;
    }
    stream.remove_prefix(std::min<size_t>(4, stream.size()));
  }
  return result;
}

std::vector<std::string> plain_cut(const std::string& stream, size_t block_bytes) {
  std::vector<std::string> blocks;
  for (size_t begin = 0; begin < stream.size(); begin += block_bytes) {
    blocks.push_back(stream.substr(begin, block_bytes));
  }
  return blocks;
}

std::vector<size_t> plain_borders(std::u32string_view units, const BorderOptions& options) {
  std::vector<size_t> ends;
  size_t begin = 0;
  for (size_t end = 1; end <= units.size(); ++end) {
    uint64_t state = 0;
    for (size_t age = options.window; age-- > 0;) {
      state = state * 0x9E3779B97F4A7C15 + (end > age ? units[end - 1 - age] : 0);
    }
    const uint64_t hash = mix_bits(state + options.seed * 0x9E3779B97F4A7C15);
    const uint8_t classes = character_classes(units[end - 1]);
    const bool is_place =
        options.words ? (classes & (kLetter | kMark | kNumber)) == 0 : hash <= ~uint64_t{0} / options.spacing;
    const size_t length = end - begin;
    if ((length >= options.minimum && is_place) || length == options.maximum || end == units.size()) {
      ends.push_back(end);
      begin = end;
    }
  }
  return ends;
}

}  // namespace verbatim::reference
