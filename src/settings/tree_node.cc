#include "settings/tree_node.h"

namespace verbatim::settings_tree {

TreeNode::TreeNode() = default;
TreeNode::TreeNode(const TreeNode&) = default;
TreeNode::TreeNode(TreeNode&&) noexcept = default;
TreeNode& TreeNode::operator=(const TreeNode&) = default;
TreeNode& TreeNode::operator=(TreeNode&&) noexcept = default;
TreeNode::~TreeNode() = default;

const TreeNode* TreeNode::find(std::string_view name) const {
  for (const auto& [key, node] : table) {
    if (key == name) return &node;
  }
  return nullptr;
}

std::string joined(std::string_view prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

void throw_too_deep(std::string_view place) {
  throw_input("{}: tables and lists are nested more than {} deep; settings have sections of sections at most", place,
              kMaxDepth);
}

}  // namespace verbatim::settings_tree
