#include "settings/settings_tree.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "settings/settings_reader.h"
#include "settings/tree_node.h"

namespace verbatim {

struct SettingsTree::Node : settings_tree::TreeNode {};

namespace {

using settings_tree::Kind;
using settings_tree::kMaxDepth;
using settings_tree::kMaxFileBytes;
using settings_tree::TreeNode;

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                              std::string_view::npos;
}

// "a.b.c" -> {"a", "b", "c"}
std::vector<std::string> split_name(std::string_view dotted) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= dotted.size();) {
    const size_t end = std::min(dotted.find('.', start), dotted.size());
    parts.emplace_back(dotted.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

const TreeNode* find_dotted(const TreeNode& root, std::string_view dotted) {
  const TreeNode* node = &root;
  for (const std::string& part : split_name(dotted)) {
    if (node->kind != Kind::kTable) return nullptr;
    node = node->find(part);
    if (node == nullptr) return nullptr;
  }
  return node;
}

}  // namespace

SettingsTree::SettingsTree() : root_(std::make_unique<Node>()) {}
SettingsTree::SettingsTree(const SettingsTree& other) : root_(std::make_unique<Node>(*other.root_)) {}
SettingsTree::SettingsTree(SettingsTree&& other) noexcept = default;
SettingsTree& SettingsTree::operator=(SettingsTree other) noexcept {
  root_ = std::move(other.root_);
  return *this;
}
SettingsTree::~SettingsTree() = default;

SettingsTree SettingsTree::from_toml(std::string_view text, std::string_view name) {
  if (text.size() > kMaxFileBytes) {
    throw_input("{}: {} bytes are too many for settings (at most {}); is this the right file?", name, text.size(),
                kMaxFileBytes);
  }
  SettingsTree tree;
  static_cast<TreeNode&>(*tree.root_) = settings_tree::read_toml(text, name);
  return tree;
}

SettingsTree SettingsTree::from_toml_file(const std::filesystem::path& path) {
  return from_toml(read_file(path, kMaxFileBytes), path.string());
}

SettingsTree SettingsTree::from_json(std::string_view text, std::string_view name) {
  if (text.size() > kMaxFileBytes) {
    throw_input("{}: {} bytes are too many for settings (at most {}); is this the right file?", name, text.size(),
                kMaxFileBytes);
  }
  SettingsTree tree;
  static_cast<TreeNode&>(*tree.root_) = settings_tree::read_json(text, name);
  return tree;
}

void SettingsTree::override_with(std::string_view assignment) {
  std::string_view words = assignment;
  while (words.starts_with('-')) words.remove_prefix(1);
  const size_t equals = words.find('=');
  if (equals == std::string_view::npos) {
    throw_input("command line: expected section.key=value, got \"{}\"", assignment);
  }
  std::string name(words.substr(0, equals));
  std::replace(name.begin(), name.end(), '-', '_');
  const std::vector<std::string> parts = split_name(name);
  for (const std::string& part : parts) {
    if (!is_word(part) || parts.size() > kMaxDepth) {
      throw_input("command line: expected section.key=value, got \"{}\"", assignment);
    }
  }
  TreeNode value = settings_tree::parse_override_value(std::string(words.substr(equals + 1)));
  if (value.kind == Kind::kTable) {
    throw_input("command line: {} is given a table; set its members one by one: {}.KEY=VALUE", name, name);
  }

  TreeNode* table = root_.get();
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    TreeNode* child = table->find(parts[i]);
    if (child == nullptr) {
      TreeNode section;
      section.place = "command line";
      table->table.emplace_back(parts[i], std::move(section));
      child = &table->table.back().second;
    } else if (child->kind != Kind::kTable) {
      throw_input("command line: {} cannot be set, because {} has {} and is no section", name, child->place,
                  child->description());
    }
    table = child;
  }
  if (TreeNode* old = table->find(parts.back())) {
    if (old->kind == Kind::kTable) {
      throw_input("command line: {} is a section; set one of its members: {}.KEY=VALUE", name, name);
    }
    *old = std::move(value);
  } else {
    table->table.emplace_back(parts.back(), std::move(value));
  }
}

std::string SettingsTree::peek(std::string_view dotted_name, std::string_view otherwise) const {
  const TreeNode* node = find_dotted(*root_, dotted_name);
  if (node == nullptr) return std::string(otherwise);
  return settings_tree::read_word(*node, dotted_name);
}

bool SettingsTree::contains(std::string_view dotted_name) const { return find_dotted(*root_, dotted_name) != nullptr; }

void SettingsTree::apply_to(Settings& settings) const { settings_tree::apply(*root_, settings); }

}  // namespace verbatim
