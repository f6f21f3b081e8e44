#include "settings/settings_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "settings/settings_tree.h"

namespace verbatim::settings_tree {
namespace {

// ---- Values ----

[[noreturn]] void throw_type(const TreeNode& node, std::string_view name, std::string_view expected,
                             std::string_view advice = "") {
  throw_input("{}: {} must be {}, got {}{}", node.place, name, expected, node.description(), advice);
}

std::string with_unit(std::string_view unit) { return unit.empty() ? std::string() : fmt::format(" {}", unit); }

void check_bounds(const TreeNode& node, std::string_view name, double value, const SettingInfo& info) {
  if (value >= info.minimum && value <= info.maximum) return;
  if (!std::isfinite(value)) throw_input("{}: {} must be a finite number, got {}", node.place, name, value);
  if (info.maximum >= 1e300) {
    throw_input("{}: {} must be at least {}{}, got {}", node.place, name, info.minimum, with_unit(info.unit), value);
  }
  if (info.minimum <= -1e300) {
    throw_input("{}: {} must be at most {}{}, got {}", node.place, name, info.maximum, with_unit(info.unit), value);
  }
  throw_input("{}: {} must be between {} and {}{}, got {}", node.place, name, info.minimum, info.maximum,
              with_unit(info.unit), value);
}

void check_choice(const TreeNode& node, std::string_view name, const std::string& value, const SettingInfo& info) {
  if (info.choices.empty() || std::find(info.choices.begin(), info.choices.end(), value) != info.choices.end()) return;
  const std::string near = nearest_name(value, info.choices);
  throw_input("{}: {} must be one of {}, got \"{}\"{}", node.place, name, fmt::join(info.choices, ", "), value,
              near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
}

void read_value(const TreeNode& node, std::string_view name, bool& value, const SettingInfo&) {
  if (node.kind != Kind::kBool) throw_type(node, name, "true or false");
  value = node.boolean;
}

void read_value(const TreeNode& node, std::string_view name, int64_t& value, const SettingInfo& info) {
  if (node.kind != Kind::kInteger) {
    const bool is_whole =
        node.kind == Kind::kFloat && std::abs(node.number) < 9e15 && node.number == std::floor(node.number);
    throw_type(node, name, fmt::format("an integer{}", info.unit.empty() ? "" : fmt::format(" ({})", info.unit)),
               is_whole ? fmt::format("; write {}", static_cast<int64_t>(node.number)) : "");
  }
  check_bounds(node, name, static_cast<double>(node.integer), info);
  value = node.integer;
}

void read_value(const TreeNode& node, std::string_view name, double& value, const SettingInfo& info) {
  double number = 0;
  if (node.kind == Kind::kFloat) {
    number = node.number;
  } else if (node.kind == Kind::kInteger) {
    number = static_cast<double>(node.integer);
  } else {
    // ".5" and "5." are no TOML but plain enough on a command line.
    const bool is_plain = node.kind == Kind::kString && node.raw.has_value();
    const char* end = node.string.data() + node.string.size();
    const auto [stop, code] = std::from_chars(node.string.data(), end, number);
    if (!is_plain || code != std::errc() || stop != end) {
      throw_type(node, name, fmt::format("a number{}", info.unit.empty() ? "" : fmt::format(" ({})", info.unit)));
    }
  }
  check_bounds(node, name, number, info);
  value = number;
}

void read_value(const TreeNode& node, std::string_view name, std::string& value, const SettingInfo& info) {
  std::string text;
  if (node.raw.has_value()) {
    text = *node.raw;
  } else if (node.kind == Kind::kString) {
    text = node.string;
  } else {
    throw_type(node, name, "a text in quotes");
  }
  check_choice(node, name, text, info);
  value = std::move(text);
}

template <class T>
void read_value(const TreeNode& node, std::string_view name, std::vector<T>& values, const SettingInfo& info) {
  std::vector<T> read;
  const auto read_all = [&](const std::vector<TreeNode>& list) {
    for (size_t i = 0; i < list.size(); ++i) {
      T value{};
      read_value(list[i], fmt::format("{}[{}]", name, i), value, info);
      read.push_back(std::move(value));
    }
  };
  if (node.kind == Kind::kList) {
    read_all(node.list);
  } else if (node.raw.has_value()) {  // "1,2,3" on the command line
    std::vector<TreeNode> list;
    for (size_t start = 0; start <= node.raw->size();) {
      const size_t end = std::min(node.raw->find(',', start), node.raw->size());
      if (end > start) list.push_back(parse_override_value(node.raw->substr(start, end - start)));
      start = end + 1;
    }
    read_all(list);
  } else {
    throw_type(node, name, "a list in brackets", fmt::format("; write {} = [...]", name));
  }
  values = std::move(read);
}

// ---- Walks over settings ----

struct UnknownKey {
  std::string name;     // dotted
  std::string section;  // dotted, "" for the root
  std::string place;
};

struct KnownNames {
  std::map<std::string, std::vector<std::string>> by_section;  // dotted section -> names in it
  std::vector<std::string> all;                                // dotted
};

// Gives the visited members the values of the tree.
class Reader final : public SettingsVisitor {
 public:
  Reader(const TreeNode* table, std::string prefix, KnownNames& known, std::vector<UnknownKey>& unknown)
      : table_(table), prefix_(std::move(prefix)), known_(known), unknown_(unknown) {
    known_.by_section[prefix_];
  }

  void setting(std::string_view name, bool& value, const SettingInfo& info) override { read(name, value, info); }
  void setting(std::string_view name, int64_t& value, const SettingInfo& info) override { read(name, value, info); }
  void setting(std::string_view name, double& value, const SettingInfo& info) override { read(name, value, info); }
  void setting(std::string_view name, std::string& value, const SettingInfo& info) override { read(name, value, info); }
  void setting(std::string_view name, std::vector<int64_t>& value, const SettingInfo& info) override {
    read(name, value, info);
  }
  void setting(std::string_view name, std::vector<double>& value, const SettingInfo& info) override {
    read(name, value, info);
  }
  void setting(std::string_view name, std::vector<std::string>& value, const SettingInfo& info) override {
    read(name, value, info);
  }

  void section(std::string_view name, Settings& value, std::string_view) override {
    const std::string full = joined(prefix_, name);
    const TreeNode* node = note(name, full);
    if (node != nullptr && node->kind != Kind::kTable) {
      throw_input("{}: {} is a section and has no value of its own, got {}; write [{}] and its settings below",
                  node->place, full, node->description(), full);
    }
    Reader reader(node, full, known_, unknown_);
    value.visit(reader);
    reader.finish();
  }

  // Notes the keys that no member has asked for.
  void finish() {
    if (table_ == nullptr) return;
    for (const auto& [name, node] : table_->table) {
      if (!seen_.contains(name)) unknown_.push_back({joined(prefix_, name), prefix_, node.place});
    }
  }

 private:
  const TreeNode* note(std::string_view name, const std::string& full) {
    known_.by_section[prefix_].emplace_back(name);
    known_.all.push_back(full);
    seen_.emplace(name);
    return table_ == nullptr ? nullptr : table_->find(name);
  }
  template <class T>
  void read(std::string_view name, T& value, const SettingInfo& info) {
    const std::string full = joined(prefix_, name);
    if (const TreeNode* node = note(name, full)) read_value(*node, full, value, info);
  }

  const TreeNode* table_;
  std::string prefix_;
  KnownNames& known_;
  std::vector<UnknownKey>& unknown_;
  std::set<std::string, std::less<>> seen_;
};

// What a switch (a word with choices, or a bool) can be set to.
struct Switch {
  std::string name;
  std::string value;  // as it stands
  std::vector<std::string> others;
};

// Walks with some switches forced to other positions, to see which members exist then. Forced values stay in the
// settings until a walk without them; the first walk remembers what they were.
class Prober final : public SettingsVisitor {
 public:
  using Positions = std::map<std::string, std::string>;

  explicit Prober(Settings& settings) : settings_(settings) {}

  void walk(const Positions& forced) {
    forced_ = &forced;
    names_.clear();
    switches_.clear();
    prefix_.clear();
    settings_.visit(*this);
  }
  [[nodiscard]] bool has(const std::string& name) const { return names_.contains(name); }
  [[nodiscard]] const std::vector<Switch>& switches() const { return switches_; }

  void setting(std::string_view name, bool& value, const SettingInfo&) override {
    const std::string full = note(name);
    const std::string position = turn(full, value ? "true" : "false");
    value = position == "true";
    switches_.push_back({full, position, {value ? "false" : "true"}});
  }
  void setting(std::string_view name, std::string& value, const SettingInfo& info) override {
    const std::string full = note(name);
    if (info.choices.empty()) return;
    value = turn(full, value);
    Switch entry{full, value, {}};
    for (const std::string& choice : info.choices) {
      if (choice != value) entry.others.push_back(choice);
    }
    switches_.push_back(std::move(entry));
  }
  void setting(std::string_view name, int64_t&, const SettingInfo&) override { note(name); }
  void setting(std::string_view name, double&, const SettingInfo&) override { note(name); }
  void setting(std::string_view name, std::vector<int64_t>&, const SettingInfo&) override { note(name); }
  void setting(std::string_view name, std::vector<double>&, const SettingInfo&) override { note(name); }
  void setting(std::string_view name, std::vector<std::string>&, const SettingInfo&) override { note(name); }
  void section(std::string_view name, Settings& value, std::string_view) override {
    const std::string before = prefix_;
    prefix_ = note(name);
    value.visit(*this);
    prefix_ = before;
  }

 private:
  std::string note(std::string_view name) {
    std::string full = joined(prefix_, name);
    names_.insert(full);
    return full;
  }
  std::string turn(const std::string& full, const std::string& value) {
    const std::string& original = originals_.try_emplace(full, value).first->second;
    const auto forced = forced_->find(full);
    return forced == forced_->end() ? original : forced->second;
  }

  Settings& settings_;
  const Positions* forced_ = nullptr;
  std::string prefix_;
  std::set<std::string> names_;
  std::vector<Switch> switches_;
  Positions originals_;
};

// The one or two switches that would give `name` a meaning, as words for a message; "" when there are none.
std::string explain_without_effect(Settings& settings, const std::string& name) {
  constexpr int kMaxWalks = 3000;
  Prober prober(settings);
  int walks = 0;
  std::string explanation;
  const auto try_positions = [&](const Prober::Positions& positions) {
    try {
      prober.walk(positions);
    } catch (const InputError&) {
      return false;  // positions that do not go together
    }
    return prober.has(name);
  };
  const auto value_words = [](const std::string& value) {
    return value == "true" || value == "false" ? value : fmt::format("\"{}\"", value);
  };

  try_positions({});
  const std::vector<Switch> first = prober.switches();
  std::vector<std::pair<Prober::Positions, std::vector<Switch>>> second;
  for (const Switch& entry : first) {
    std::vector<std::string> fitting;
    for (const std::string& other : entry.others) {
      if (++walks > kMaxWalks) break;
      Prober::Positions positions{{entry.name, other}};
      if (try_positions(positions)) {
        fitting.push_back(value_words(other));
      } else {
        second.emplace_back(positions, prober.switches());
      }
    }
    if (!fitting.empty()) {
      explanation = fmt::format("has no effect while {} is {}; remove it, or set {} = {}", entry.name,
                                value_words(entry.value), entry.name, fmt::join(fitting, " or "));
      break;
    }
  }
  for (size_t i = 0; i < second.size() && explanation.empty(); ++i) {
    const auto& [base, switches] = second[i];
    for (const Switch& entry : switches) {
      if (base.contains(entry.name)) continue;
      for (const std::string& other : entry.others) {
        if (!explanation.empty() || ++walks > kMaxWalks) break;
        Prober::Positions positions = base;
        positions[entry.name] = other;
        if (try_positions(positions)) {
          explanation = fmt::format("has no effect here; remove it, or set {} = {} and {} = {}", base.begin()->first,
                                    value_words(base.begin()->second), entry.name, value_words(other));
        }
      }
    }
  }
  try_positions({});  // the switches as they were
  return explanation;
}

[[noreturn]] void throw_unknown(Settings& settings, const UnknownKey& unknown, const KnownNames& known) {
  const std::string explanation = explain_without_effect(settings, unknown.name);
  if (!explanation.empty()) throw_input("{}: {} {}", unknown.place, unknown.name, explanation);

  const std::vector<std::string>& neighbours = known.by_section.at(unknown.section);
  const std::string local = unknown.section.empty() ? unknown.name : unknown.name.substr(unknown.section.size() + 1);
  std::string near = nearest_name(local, neighbours);
  if (!near.empty()) near = joined(unknown.section, near);
  if (near.empty()) {
    for (const std::string& full : known.all) {  // the right name in the wrong section
      if (full.size() > local.size() && full.ends_with("." + local)) {
        near = full;
        break;
      }
    }
  }
  if (near.empty()) near = nearest_name(unknown.name, known.all);
  if (!near.empty()) {
    throw_input("{}: unknown setting {}; did you mean {}?", unknown.place, unknown.name, near);
  }
  throw_input("{}: unknown setting {}; {} knows {}", unknown.place, unknown.name,
              unknown.section.empty() ? "the top level" : fmt::format("[{}]", unknown.section),
              fmt::join(neighbours, ", "));
}

}  // namespace

void apply(const TreeNode& root, Settings& settings) {
  KnownNames known;
  std::vector<UnknownKey> unknown;
  Reader reader(&root, "", known, unknown);
  settings.visit(reader);
  reader.finish();
  if (!unknown.empty()) throw_unknown(settings, unknown.front(), known);
}

std::string read_word(const TreeNode& node, std::string_view name) {
  std::string value;
  read_value(node, name, value, SettingInfo{});
  return value;
}

}  // namespace verbatim::settings_tree
