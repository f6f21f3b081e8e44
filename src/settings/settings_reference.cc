#include "settings/settings_reference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "settings/collected_settings.h"
#include "settings/settings_tree.h"

namespace verbatim {
namespace {

using settings_tree::Entry;
using settings_tree::Section;

constexpr size_t kMostConditions = 4;

struct Assignment {
  std::string name, value;
};

// Values other than the default's that may bring settings of their own.
std::vector<std::string> other_values(const Entry& entry) {
  const std::string value = settings_tree::toml_value(entry.value, entry.name);
  if (value == "true") return {"false"};
  if (value == "false") return {"true"};
  std::vector<std::string> others;
  if (std::holds_alternative<std::string>(entry.value)) {
    for (const std::string& choice : entry.info.choices) {
      const std::string quoted = fmt::format("\"{}\"", choice);
      if (quoted != value) others.push_back(quoted);
    }
  } else if (std::holds_alternative<int64_t>(entry.value) || std::holds_alternative<double>(entry.value)) {
    const bool is_zero = value == "0" || value == "0.0";
    const double other = is_zero ? 1 : 0;
    if (other >= entry.info.minimum && other <= entry.info.maximum) others.emplace_back(is_zero ? "1" : "0");
  } else if (value == "[]" && std::holds_alternative<std::vector<int64_t>>(entry.value)) {
    others.push_back(fmt::format("[{}]", static_cast<int64_t>(std::max(entry.info.minimum, 1.0))));
  }
  return others;
}

// All entries with these values, in order; none where the values cannot be together.
std::optional<Section> with_values(const std::function<std::unique_ptr<Settings>()>& make,
                                   const std::vector<Assignment>& values) {
  const std::unique_ptr<Settings> settings = make();
  SettingsTree tree;
  for (const Assignment& value : values) tree.override_with(value.name + "=" + value.value);
  try {
    tree.apply_to(*settings);
    return settings_tree::collect(*settings);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

template <class Visit>
void for_entries(const Section& section, const Visit& visit) {
  for (const Entry& entry : section.entries) visit(section, entry);
  for (const Section& child : section.sections) for_entries(child, visit);
}

std::string condition_of(const std::vector<Assignment>& values) {
  std::vector<std::string> words;
  words.reserve(values.size());
  for (const Assignment& value : values) words.push_back(fmt::format("{} = {}", value.name, value.value));
  return words.empty() ? "" : fmt::format(" (with {})", fmt::join(words, ", "));
}

}  // namespace

std::string describe_all(const std::function<std::unique_ptr<Settings>()>& make, const AllSettingsOptions& options) {
  std::string text;
  std::set<std::pair<std::string, std::string>> known;  // meaning of the name, help
  // The shortest conditions first, so that what a setting needs is what is said of it.
  std::deque<std::vector<Assignment>> open = {{}};
  while (!open.empty()) {
    const std::vector<Assignment> values = std::move(open.front());
    open.pop_front();
    const std::optional<Section> found = with_values(make, values);
    if (!found.has_value()) continue;
    for_entries(*found, [&](const Section& section, const Entry& entry) {
      const std::string name = section.name_of(entry);
      if (!known.emplace(options.meaning(name), entry.info.help).second) return;
      text += settings_tree::line_of(section, entry) + condition_of(values) + "\n";
      if (values.size() == kMostConditions) return;
      std::vector<std::string> others = other_values(entry);
      for (const std::string& word : options.words) {
        if (word.starts_with(name + "=")) others.push_back(fmt::format("\"{}\"", word.substr(name.size() + 1)));
      }
      for (const std::string& other : others) {
        open.push_back(values);
        open.back().push_back({.name = name, .value = other});
      }
    });
  }
  return text;
}

}  // namespace verbatim
