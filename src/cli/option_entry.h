#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"

namespace verbatim {

// One declared option as parser, help and completion see it.
struct OptionSet::Entry {
  enum class Kind { kFlag, kCounter, kValue, kList, kPositional, kPositionalList, kOverrides };

  Kind kind = Kind::kFlag;
  std::vector<std::string> names;  // "-o", "--out"; the one name of a positional
  OptionInfo info;                 // placeholder and default_text filled in
  std::string group;
  std::function<void(const std::string&)> set;  // a value as typed; for flags "true" or "false"
  std::function<std::string()> reference;       // overrides: the settings for --help-all

  [[nodiscard]] bool is_positional() const { return kind == Kind::kPositional || kind == Kind::kPositionalList; }
  [[nodiscard]] bool takes_value() const { return kind == Kind::kValue || kind == Kind::kList; }
  [[nodiscard]] const std::string& shown_name() const { return names.back(); }
};

}  // namespace verbatim
