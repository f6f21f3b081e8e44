#include "text/html.h"

#include "text/utf8.h"

namespace verbatim {

std::string escape_html(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string escape_html_name(std::string_view text) {
  std::string visible;
  for (const char c : replace_invalid_utf8(text)) {
    visible += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  }
  return escape_html(visible);
}

std::string escape_script_json(std::string_view json) {
  std::string escaped;
  escaped.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      escaped += "\\u003c";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

bool is_hidden_character(char32_t value) {
  return (value < 0x20 && value != '\t' && value != '\n') || (value >= 0x7F && value <= 0x9F) || value == 0xAD ||
         value == 0x61C || (value >= 0x200B && value <= 0x200F && value != 0x200D && value != 0x200C) ||
         (value >= 0x2028 && value <= 0x202E) || (value >= 0x2060 && value <= 0x206F) || value == 0xFEFF ||
         (value >= 0xFFF9 && value <= 0xFFFB) || (value & 0xFFFE) == 0xFFFE;
}

}  // namespace verbatim
