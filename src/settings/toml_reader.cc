#include <toml++/toml.h>

#include <algorithm>

#include "settings/tree_node.h"

namespace verbatim::settings_tree {
namespace {

// toml++ builds one table per part of a dotted key and frees them recursively, so a key of a million dots would end the
// program. This counts the dots between separators, outside of strings and comments.
void check_key_depth(std::string_view text, std::string_view name) {
  size_t dots = 0, line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const bool is_long = text.substr(i, 3) == std::string(3, c);
      size_t j = i + (is_long ? 3 : 1);
      for (; j < text.size(); ++j) {
        if (text[j] == '\n') {
          if (!is_long) break;
          ++line;
        } else if (c == '"' && text[j] == '\\') {
          if (j + 1 < text.size() && text[j + 1] == '\n') ++line;
          ++j;
        } else if (text[j] == c && (!is_long || text.substr(j, 3) == std::string(3, c))) {
          break;
        }
      }
      i = j + (is_long ? 2 : 0);
      if (!is_long && j < text.size() && text[j] == '\n') --i;
    } else if (c == '#') {
      const size_t end = text.find('\n', i);
      i = (end == std::string_view::npos ? text.size() : end) - 1;
    } else if (c == '.') {
      if (++dots > kMaxDepth) throw_too_deep(fmt::format("{}:{}", name, line));
    } else if (c == '\n' || c == '=' || c == ',' || c == '[' || c == ']' || c == '{' || c == '}') {
      dots = 0;
      if (c == '\n') ++line;
    }
  }
}

std::string place_of(std::string_view name, const toml::source_region& source) {
  if (source.begin.line == 0) return std::string(name);
  return fmt::format("{}:{}:{}", name, source.begin.line, source.begin.column);
}

TreeNode from_toml_node(const toml::node& source, std::string_view name, size_t depth) {
  TreeNode node;
  node.place = place_of(name, source.source());
  if (depth > kMaxDepth) throw_too_deep(node.place);
  if (const auto* table = source.as_table()) {
    node.kind = Kind::kTable;
    std::vector<std::pair<toml::source_position, std::pair<std::string, TreeNode>>> children;
    for (const auto& [key, value] : *table) {
      TreeNode child = from_toml_node(value, name, depth + 1);
      const toml::source_region& region = key.source().begin.line != 0 ? key.source() : value.source();
      child.place = place_of(name, region);
      children.emplace_back(region.begin, std::pair(std::string(key.str()), std::move(child)));
    }
    std::stable_sort(children.begin(), children.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [position, child] : children) node.table.push_back(std::move(child));
  } else if (const auto* array = source.as_array()) {
    node.kind = Kind::kList;
    for (const toml::node& value : *array) node.list.push_back(from_toml_node(value, name, depth + 1));
  } else if (const auto* boolean = source.as_boolean()) {
    node.kind = Kind::kBool;
    node.boolean = boolean->get();
  } else if (const auto* integer = source.as_integer()) {
    node.kind = Kind::kInteger;
    node.integer = integer->get();
  } else if (const auto* number = source.as_floating_point()) {
    node.kind = Kind::kFloat;
    node.number = number->get();
  } else if (const auto* string = source.as_string()) {
    node.kind = Kind::kString;
    node.string = string->get();
  } else {
    node.kind = Kind::kOther;
  }
  return node;
}

// The value of `text` when it is exactly one TOML value.
std::optional<TreeNode> parse_toml_value(const std::string& text) {
  if (text.find('\n') != std::string::npos) return std::nullopt;
  try {
    const std::string document = "value = " + text + "\n";
    check_key_depth(document, "command line");
    const toml::table table = toml::parse(document);
    const toml::node* value = table.get("value");
    if (table.size() != 1 || value == nullptr) return std::nullopt;
    TreeNode node = from_toml_node(*value, "command line", 0);
    return node;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

void set_place(TreeNode& node, const std::string& place) {
  node.place = place;
  for (TreeNode& child : node.list) set_place(child, place);
  for (auto& [key, child] : node.table) set_place(child, place);
}

}  // namespace

TreeNode read_toml(std::string_view text, std::string_view name) {
  check_key_depth(text, name);
  try {
    const toml::table table = toml::parse(text, name);
    return from_toml_node(table, name, 0);
  } catch (const toml::parse_error& error) {
    throw_input("{}: not valid TOML: {}", place_of(name, error.source()), error.description());
  }
}

TreeNode parse_override_value(const std::string& text) {
  TreeNode node;
  if (auto value = parse_toml_value(text)) {
    node = std::move(*value);
  } else {
    node.kind = Kind::kString;
    node.string = text;
  }
  // Quoted text is taken without its quotes; everything else is also known by its words.
  if (node.kind != Kind::kString || text == node.string) node.raw = text;
  set_place(node, "command line");
  return node;
}

}  // namespace verbatim::settings_tree
