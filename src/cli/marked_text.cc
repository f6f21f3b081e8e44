#include "cli/marked_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "text/utf8.h"

namespace verbatim {

namespace {

// What stands behind the last character of a patch, from the first level to the fourth; further levels share the last.
constexpr std::array<std::string_view, 4> kMarks = {"\u00B7", "\u2502", "\u2503", "\u2551"};
constexpr std::array<std::string_view, 4> kMarkColors = {"\033[2m", "\033[36m", "\033[1;35m", "\033[1m"};

std::string mark_of(size_t level, bool has_colors) {
  const size_t index = std::min(level, kMarks.size() - 1);
  if (!has_colors) return std::string(kMarks[index]);
  return fmt::format("{}{}\033[0m", kMarkColors[index], kMarks[index]);
}

}  // namespace

std::string visible_text(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint unit = decode_utf8(bytes, at);
    if (!unit.valid || unit.value < 0x20 || unit.value == 0x7F) {
      text += unit.value == '\n'   ? "\\n"
              : unit.value == '\t' ? "\\t"
                                   : fmt::format("\\x{:02X}", static_cast<unsigned>(unit.value));
    } else {
      text += bytes.substr(at, unit.size);
    }
    at += unit.size;
  }
  return text;
}

std::string marked_text(const std::vector<std::vector<uint64_t>>& ends, std::string_view document, bool has_colors) {
  std::string text;
  std::vector<size_t> patch(ends.size(), 0);
  for (size_t at = 0; at < document.size();) {
    const CodePoint unit = decode_utf8(document, at);
    text += unit.valid && unit.value == '\n' ? std::string("\n") : visible_text(document.substr(at, unit.size));
    at += unit.size;
    std::optional<size_t> highest;
    for (size_t level = 0; level < ends.size(); ++level) {
      for (; patch[level] < ends[level].size() && ends[level][patch[level]] <= at; ++patch[level]) highest = level;
    }
    if (highest.has_value() && at < document.size()) text += mark_of(*highest, has_colors);
  }
  return text;
}

std::string nesting_legend(const std::vector<std::vector<uint64_t>>& ends, size_t bytes, bool has_colors) {
  std::string text;
  for (size_t level = 0; level < ends.size(); ++level) {
    text += fmt::format("{} level {}: {} patches, {:.2f} bytes each\n", mark_of(level, has_colors), level + 1,
                        ends[level].size(),
                        static_cast<double>(bytes) / static_cast<double>(std::max<size_t>(ends[level].size(), 1)));
  }
  return text;
}

}  // namespace verbatim
