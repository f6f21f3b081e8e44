#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "text/utf8.h"

namespace verbatim {

// Texts at which encodings break: scripts, sequences of emoji, NUL bytes, and bytes that are no UTF-8.
inline std::vector<std::string> some_texts() {
  using namespace std::string_literals;
  return {
      "",
      "a",
      "\n",
      "\0"s,
      "\0\0 nul at both ends, and \0 inside \0\0"s,
      "sixteen in a row",
      "seventeen in line",
      "Stra\xC3\x9F"
      "e, \xD0\xBC\xD0\xB8\xD1\x80, \xE4\xB8\x96\xE7\x95\x8C, \xED\x95\x9C\xEA\xB8\x80, "
      "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\xE0\xA5\x80",
      // A family of four (joiners), a skin tone, a flag of two letters, the flag of Scotland (tags of plane 14).
      "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466 \U0001F44D\U0001F3FD \U0001F1E9\U0001F1EA "
      "\U0001F3F4\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F",
      "e\u0301 and \u00E9, \uFEFF inside, \uFFFE, \U0010FFFF",
      "a lone surrogate \xED\xA0\x80, a pair of them \xED\xA0\xBD\xED\xB8\x80",
      "overlong \xC0\x80 \xE0\x80\xAF \xF0\x82\x82\xAC",
      "above the last plane \xF4\x90\x80\x80 \xF5\x80\x80\x80 \xFF\xFE",
      "cut short \xE2\x82",
      "\xF0\x9F\x98",
      "\x80",
      "stray \xBF\xBF between",
      std::string(1000, '\xE2'),
  };
}

// Bytes of which some are characters and some are not.
inline std::string random_text(size_t pieces, Random& random) {
  std::string text;
  for (size_t i = 0; i < pieces; ++i) {
    switch (random.below(8)) {
      case 0:
        text.push_back(static_cast<char>(random.below(256)));
        break;
      case 1:
        append_utf8(text, static_cast<char32_t>(0x80 + random.below(0x780)));
        break;
      case 2:
        append_utf8(text, static_cast<char32_t>(0x800 + random.below(0xD000)));
        break;
      case 3:
        append_utf8(text, static_cast<char32_t>(0x10000 + random.below(0x100000)));
        break;
      case 4:
        text.append(random.below(40), 'x');
        break;
      case 5:  // a character without its last byte
        text += encode_utf8(static_cast<char32_t>(0x800 + random.below(0xD000))).substr(0, 2);
        break;
      default:
        text.push_back(static_cast<char>(random.below(128)));
    }
  }
  return text;
}

}  // namespace verbatim
