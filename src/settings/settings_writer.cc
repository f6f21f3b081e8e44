// Settings out: TOML, JSON and help text, all from one walk over the settings.
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "settings/collected_settings.h"
#include "settings/settings_tree.h"

namespace verbatim {
namespace settings_tree {
namespace {

class Collector final : public SettingsVisitor {
 public:
  explicit Collector(Section& section) : section_(section) {}
  void setting(std::string_view name, bool& value, const SettingInfo& info) override { add(name, value, info); }
  void setting(std::string_view name, int64_t& value, const SettingInfo& info) override { add(name, value, info); }
  void setting(std::string_view name, double& value, const SettingInfo& info) override { add(name, value, info); }
  void setting(std::string_view name, std::string& value, const SettingInfo& info) override { add(name, value, info); }
  void setting(std::string_view name, std::vector<int64_t>& value, const SettingInfo& info) override {
    add(name, value, info);
  }
  void setting(std::string_view name, std::vector<double>& value, const SettingInfo& info) override {
    add(name, value, info);
  }
  void setting(std::string_view name, std::vector<std::string>& value, const SettingInfo& info) override {
    add(name, value, info);
  }
  void section(std::string_view name, Settings& value, std::string_view help) override {
    Section child;
    child.key = name;
    child.name = section_.name.empty() ? std::string(name) : fmt::format("{}.{}", section_.name, name);
    child.help = help;
    Collector collector(child);
    value.visit(collector);
    section_.sections.push_back(std::move(child));
  }

 private:
  template <class T>
  void add(std::string_view name, const T& value, const SettingInfo& info) {
    section_.entries.push_back({std::string(name), info, value});
  }

  Section& section_;
};

// The shortest decimal that reads back as the same number.
std::string format_number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const double size = std::abs(value);
  const auto format =
      value == 0 || (size >= 1e-5 && size < 1e16) ? std::chars_format::fixed : std::chars_format::general;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool is_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::string quote(const std::string& text, std::string_view name) {
  if (!is_utf8(text)) {
    throw_input("{}: the value is not valid UTF-8 and cannot be saved; use a name in UTF-8", name);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          quoted += fmt::format("\\u{:04X}", byte);
        } else {
          quoted += c;
        }
    }
  }
  return quoted + '"';
}

std::string written(bool value, std::string_view) { return value ? "true" : "false"; }
std::string written(int64_t value, std::string_view) { return fmt::format("{}", value); }
std::string written(double value, std::string_view) { return format_number(value); }
std::string written(const std::string& value, std::string_view name) { return quote(value, name); }
template <class T>
std::string written(const std::vector<T>& values, std::string_view name) {
  std::string text = "[";
  for (const T& value : values) {
    if (text.size() > 1) text += ", ";
    text += written(value, name);
  }
  return text + "]";
}

std::string toml_key(const std::string& name) {
  const bool bare = !name.empty() && name.find_first_not_of(
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_-") == std::string::npos;
  return bare ? name : quote(name, name);
}

std::string bound_text(double bound, bool whole) {
  if (whole && std::abs(bound) < 9e15) return fmt::format("{}", static_cast<int64_t>(bound));
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, bound).ptr);
}

// "bytes; at least 1", "one of adamw, sgd"
std::string limits_text(const Entry& entry) {
  std::string text(entry.info.unit);
  const auto append = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (!entry.info.choices.empty()) append(fmt::format("one of {}", fmt::join(entry.info.choices, ", ")));
  const bool whole =
      std::holds_alternative<int64_t>(entry.value) || std::holds_alternative<std::vector<int64_t>>(entry.value);
  const bool has_minimum = entry.info.minimum > -1e300, has_maximum = entry.info.maximum < 1e300;
  if (has_minimum && has_maximum) {
    append(fmt::format("{} to {}", bound_text(entry.info.minimum, whole), bound_text(entry.info.maximum, whole)));
  } else if (has_minimum) {
    append(fmt::format("at least {}", bound_text(entry.info.minimum, whole)));
  } else if (has_maximum) {
    append(fmt::format("at most {}", bound_text(entry.info.maximum, whole)));
  }
  return text;
}

// A comment ends at the line's end, so a help text must not bring its own.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

void write_toml(const Section& section, bool with_comments, std::string& text) {
  for (const Entry& entry : section.entries) {
    if (with_comments) {
      const std::string limits = limits_text(entry);
      const std::string comment =
          one_line(fmt::format("{}{}", entry.info.help, limits.empty() ? std::string() : fmt::format(" ({})", limits)));
      text += fmt::format("# {}\n", comment);
    }
    text += fmt::format("{} = {}\n", toml_key(entry.name), toml_value(entry.value, entry.name));
  }
  for (const Section& child : section.sections) {
    if (!text.empty()) text += '\n';
    if (with_comments && !child.help.empty()) text += fmt::format("# {}\n", one_line(child.help));
    text += fmt::format("[{}]\n", child.name);
    write_toml(child, with_comments, text);
  }
}

nlohmann::ordered_json make_json(const Section& section) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const Entry& entry : section.entries) {
    std::visit([&](const auto& value) { object[entry.name] = value; }, entry.value);
  }
  for (const Section& child : section.sections) object[child.key] = make_json(child);
  return object;
}

}  // namespace

Section collect(Settings& settings) {
  Section root;
  Collector collector(root);
  settings.visit(collector);
  return root;
}

std::string toml_value(const Value& value, std::string_view name) {
  return std::visit([&](const auto& held) { return written(held, name); }, value);
}

std::string line_of(const Section& section, const Entry& entry) {
  const std::string limits = limits_text(entry);
  return fmt::format("  {:<28}  {} ({}default: {})", section.name_of(entry), one_line(std::string(entry.info.help)),
                     limits.empty() ? "" : limits + "; ", toml_value(entry.value, entry.name));
}

}  // namespace settings_tree

namespace {

using settings_tree::collect;
using settings_tree::Entry;
using settings_tree::Section;

void describe_section(const Section& section, std::string& text) {
  for (const Entry& entry : section.entries) {
    text += line_of(section, entry) + "\n";
  }
  for (const Section& child : section.sections) describe_section(child, text);
}

}  // namespace

std::string to_toml(Settings& settings, bool with_comments) {
  std::string text;
  settings_tree::write_toml(collect(settings), with_comments, text);
  return text;
}

std::string to_json(Settings& settings) {
  try {
    return settings_tree::make_json(collect(settings)).dump(2) + "\n";
  } catch (const nlohmann::json::type_error&) {
    throw_input("settings: a value is not valid UTF-8 and cannot be saved as JSON; use a name in UTF-8");
  }
}

std::string describe(Settings& settings) {
  std::string text;
  describe_section(collect(settings), text);
  return text;
}

}  // namespace verbatim
