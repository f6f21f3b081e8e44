#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

// What SettingsTree consists of, and the texts it is read from.
namespace verbatim::settings_tree {

// Settings are small; these bound what a wrong path or a hostile file can cost.
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 22;
constexpr size_t kMaxDepth = 32;

enum class Kind { kTable, kList, kBool, kInteger, kFloat, kString, kOther };

// One value of the tree. Only the members of its kind hold something.
struct TreeNode {
  // Defined below, where pairs of nodes are complete: clang 14 insists.
  TreeNode();
  TreeNode(const TreeNode&);
  TreeNode(TreeNode&&) noexcept;
  TreeNode& operator=(const TreeNode&);
  TreeNode& operator=(TreeNode&&) noexcept;
  ~TreeNode();

  Kind kind = Kind::kTable;
  std::string place;               // "run.toml:12:5", "command line"
  std::optional<std::string> raw;  // overrides: the words as typed, which a string setting takes as they are
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string string;
  std::vector<TreeNode> list;
  std::vector<std::pair<std::string, TreeNode>> table;  // in the order of the text

  [[nodiscard]] const TreeNode* find(std::string_view name) const;
  [[nodiscard]] TreeNode* find(std::string_view name) { return const_cast<TreeNode*>(std::as_const(*this).find(name)); }

  [[nodiscard]] std::string description() const {
    switch (kind) {
      case Kind::kTable:
        return "a table";
      case Kind::kList:
        return "a list";
      case Kind::kBool:
        return boolean ? "true" : "false";
      case Kind::kInteger:
        return fmt::format("the integer {}", integer);
      case Kind::kFloat:
        return fmt::format("the number {}", number);
      case Kind::kString:
        return string.size() > 60 ? "a longer text" : fmt::format("the text \"{}\"", string);
      case Kind::kOther:
        return "a date or time";
    }
    return "";
  }
};

// "section.name"; the name alone when there is no section.
[[nodiscard]] std::string joined(std::string_view prefix, std::string_view name);

[[noreturn]] void throw_too_deep(std::string_view place);

// `name` stands for the file in messages. Throw InputError with line and column on malformed text.
[[nodiscard]] TreeNode read_toml(std::string_view text, std::string_view name);
[[nodiscard]] TreeNode read_json(std::string_view text, std::string_view name);
// A value from the command line: TOML where `text` is exactly one TOML value, otherwise a plain word.
[[nodiscard]] TreeNode parse_override_value(const std::string& text);

}  // namespace verbatim::settings_tree
