#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "settings/visitor.h"

namespace verbatim {

// Settings as read from a file or the command line, before they reach the components. Every value remembers its place
// ("run.toml:12:5", "command line") for messages.
class SettingsTree {
 public:
  SettingsTree();
  SettingsTree(const SettingsTree&);
  SettingsTree(SettingsTree&&) noexcept;
  SettingsTree& operator=(SettingsTree) noexcept;
  ~SettingsTree();

  // `name` stands for the file in messages. Throw InputError with line and column on malformed text.
  [[nodiscard]] static SettingsTree from_toml(std::string_view text, std::string_view name);
  [[nodiscard]] static SettingsTree from_toml_file(const std::filesystem::path& path);
  [[nodiscard]] static SettingsTree from_json(std::string_view text, std::string_view name);

  // "section.key=value", with or without leading dashes. The value is read as TOML; what is not TOML is a plain word.
  void override_with(std::string_view assignment);

  // Reads one word without consuming it, for instance "model.family" to decide which settings exist at all.
  [[nodiscard]] std::string peek(std::string_view dotted_name, std::string_view otherwise) const;
  [[nodiscard]] bool contains(std::string_view dotted_name) const;

  // Sets every visited member that the tree holds. Throws InputError for wrong types, values out of bounds or not
  // among the choices, and for keys that no member has (with the nearest known name).
  void apply_to(Settings& settings) const;

 private:
  struct Node;
  std::unique_ptr<Node> root_;
};

// All settings, complete, in the order of visit(); TOML carries help and unit as comments when asked.
[[nodiscard]] std::string to_toml(Settings& settings, bool with_comments);
[[nodiscard]] std::string to_json(Settings& settings);
// One line per setting: name, default, unit, choices, help. For --help and the manual.
[[nodiscard]] std::string describe(Settings& settings);

// The known name that is nearest to `name` (edit distance), or "" when none is near.
[[nodiscard]] std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace verbatim
