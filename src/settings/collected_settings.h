#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "settings/visitor.h"

// What one walk over settings finds, for those who write them.
namespace verbatim::settings_tree {

using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                           std::vector<std::string>>;

struct Entry {
  std::string name;  // the last word
  SettingInfo info;
  Value value;
};

struct Section {
  std::string key;   // the last word of the name
  std::string name;  // dotted, empty for the root
  std::string help;
  std::vector<Entry> entries;
  std::vector<Section> sections;

  [[nodiscard]] std::string name_of(const Entry& entry) const {
    return name.empty() ? entry.name : name + "." + entry.name;
  }
};

[[nodiscard]] Section collect(Settings& settings);

// As it stands in a TOML file; `name` is for messages.
[[nodiscard]] std::string toml_value(const Value& value, std::string_view name);
// "  section.name   help (limits; default: value)", without a line break.
[[nodiscard]] std::string line_of(const Section& section, const Entry& entry);

}  // namespace verbatim::settings_tree
