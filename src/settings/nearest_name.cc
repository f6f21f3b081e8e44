#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "base/names.h"
#include "settings/settings_tree.h"

namespace verbatim {
namespace {

// Settings are written with '_'; a '-' or a capital is no difference that matters.
std::string fold(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return folded;
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  if (name.empty()) return "";
  std::vector<std::string> folded;
  folded.reserve(known.size());
  for (const std::string& candidate : known) folded.push_back(fold(candidate));
  const std::vector<std::string> nearest = nearest_names(fold(name), folded, 1);
  if (nearest.empty()) return "";
  return known[static_cast<size_t>(std::find(folded.begin(), folded.end(), nearest.front()) - folded.begin())];
}

}  // namespace verbatim
