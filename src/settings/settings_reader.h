#pragma once

#include <string>
#include <string_view>

#include "settings/tree_node.h"
#include "settings/visitor.h"

// How the values of a tree reach the settings.
namespace verbatim::settings_tree {

// Sets every visited member that the tree holds; see SettingsTree::apply_to.
void apply(const TreeNode& root, Settings& settings);

// A string setting of any words. Throws InputError when the node is no such value.
[[nodiscard]] std::string read_word(const TreeNode& node, std::string_view name);

}  // namespace verbatim::settings_tree
