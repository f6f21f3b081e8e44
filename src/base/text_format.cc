#include "base/text_format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <ctime>
#include <span>

namespace verbatim {
namespace {

std::string scale(double value, double base, std::span<const std::string_view> units) {
  size_t unit = 0;
  // 999.5 would print as "1000" with three digits, so it already belongs to the next unit.
  while (std::abs(value) >= (unit == 0 ? base : 999.5) && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  const double size = std::abs(value);
  const int digits = unit == 0 ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, digits, units[unit]);
}

}  // namespace

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  return scale(static_cast<double>(bytes), 1024, kUnits);
}

std::string format_count(double count) {
  constexpr std::array<std::string_view, 6> kUnits = {"", " k", " M", " G", " T", " P"};
  if (!std::isfinite(count)) return "?";
  return scale(count, 1000, kUnits);
}

std::string format_rate(double bytes_per_second) {
  constexpr std::array<std::string_view, 6> kUnits = {" B/s", " kB/s", " MB/s", " GB/s", " TB/s", " PB/s"};
  if (!std::isfinite(bytes_per_second)) return "? B/s";
  return scale(bytes_per_second, 1000, kUnits);
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e12) return "?";
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  const int64_t minutes = whole / 60;
  if (whole < 3600) return fmt::format("{} min {:02} s", minutes, whole % 60);
  if (whole < 86400) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  return fmt::format("{} d {:02} h", whole / 86400, minutes / 60 % 24);
}

std::string format_time_utc(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (::gmtime_r(&time, &parts) == nullptr) return "?";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string quote_bytes(std::string_view bytes, size_t max_bytes) {
  std::string text = "\"";
  for (const char c : bytes.substr(0, max_bytes)) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      text += fmt::format("\\x{:02X}", byte);
    }
  }
  text += bytes.size() > max_bytes ? "\"..." : "\"";
  return text;
}

}  // namespace verbatim
