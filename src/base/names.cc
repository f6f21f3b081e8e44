#include "base/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace verbatim {

size_t edit_distance(std::string_view a, std::string_view b) {
  // Rows of the usual table: the one before the previous (for swaps), the previous, the current.
  std::array<std::vector<size_t>, 3> rows;
  for (auto& row : rows) row.resize(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) rows[1][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& [before, previous, current] = rows;
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::rotate(rows.begin(), rows.begin() + 1, rows.end());
  }
  return rows[1][b.size()];
}

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known, size_t max_names) {
  // A third of the letters wrong is still a slip; a name that only lacks its end or its section counts as near too.
  const size_t limit = std::max<size_t>(name.size() / 3, 1);
  std::vector<std::pair<size_t, std::string>> near;
  for (const std::string& candidate : known) {
    // Names from hostile files can be long; the table for them would be too large to be worth it.
    if (candidate.size() > 4 * name.size() + 16 || candidate.size() > 512) continue;
    const size_t distance = edit_distance(name, candidate);
    const bool is_part = name.size() >= 3 && (candidate.starts_with(name) || candidate.ends_with(name));
    if (distance <= limit) {
      near.emplace_back(distance, candidate);
    } else if (is_part) {
      near.emplace_back(limit + 1, candidate);
    }
  }
  std::sort(near.begin(), near.end());
  std::vector<std::string> names;
  for (auto& [distance, candidate] : near) {
    if (names.size() == max_names) break;
    names.push_back(std::move(candidate));
  }
  return names;
}

std::string suggest_names(std::string_view name, const std::vector<std::string>& known, size_t max_names) {
  const std::vector<std::string> names = nearest_names(name, known, max_names);
  if (names.empty()) return "";
  std::string text = "; did you mean ";
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += fmt::format("'{}'", names[i]);
  }
  return text + "?";
}

}  // namespace verbatim
