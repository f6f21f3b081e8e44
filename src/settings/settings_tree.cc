#include "settings/settings_tree.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace verbatim {
namespace settings_tree {

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

}  // namespace settings_tree

struct SettingsTree::Node : settings_tree::TreeNode {};

namespace {

using settings_tree::Kind;
using settings_tree::kMaxDepth;
using settings_tree::kMaxFileBytes;
using settings_tree::TreeNode;

std::string joined(std::string_view prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

[[noreturn]] void throw_too_deep(std::string_view place) {
  throw_input("{}: tables and lists are nested more than {} deep; settings have sections of sections at most", place,
              kMaxDepth);
}

// ---- TOML ----

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

// ---- JSON ----

// Builds the tree while the text is read, which gives places and finds names that occur twice (a JSON document object
// would keep the last one in silence).
class JsonReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  // Reads the text for the parser and remembers how far it has come.
  class Cursor {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;
    Cursor(const char* at, const char** consumed) : at_(at), consumed_(consumed) {}
    reference operator*() const { return *at_; }
    Cursor& operator++() {
      ++at_;
      *consumed_ = at_;
      return *this;
    }
    Cursor operator++(int) {
      Cursor old = *this;
      ++*this;
      return old;
    }
    bool operator==(const Cursor& other) const { return at_ == other.at_; }
    bool operator!=(const Cursor& other) const { return at_ != other.at_; }

   private:
    const char* at_;
    const char** consumed_;
  };

  JsonReader(std::string_view text, std::string_view name)
      : text_(text), name_(name), consumed_(text.data()), line_start_(text.data()), counted_(text.data()) {}

  TreeNode read() {
    const char* end = text_.data() + text_.size();
    nlohmann::json::sax_parse(Cursor(text_.data(), &consumed_), Cursor(end, &consumed_), this);
    if (root_.kind != Kind::kTable) {
      throw_input("{}: expected an object of settings, got {}", root_.place, root_.description());
    }
    return std::move(root_);
  }

  bool null() override { throw_input("{}: null is no value of a setting; leave the name out", place()); }
  bool boolean(bool value) override {
    TreeNode node;
    node.kind = Kind::kBool;
    node.boolean = value;
    return add(std::move(node));
  }
  bool number_integer(int64_t value) override {
    TreeNode node;
    node.kind = Kind::kInteger;
    node.integer = value;
    return add(std::move(node));
  }
  bool number_unsigned(uint64_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) {
      throw_input("{}: {} does not fit in 64 bits with a sign", place(), value);
    }
    return number_integer(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string& words) override {
    if (words.find_first_of(".eE") == std::string::npos) {
      throw_input("{}: {} does not fit in 64 bits with a sign", place(), words.substr(0, 60));
    }
    TreeNode node;
    node.kind = Kind::kFloat;
    node.number = value;
    return add(std::move(node));
  }
  bool string(std::string& value) override {
    TreeNode node;
    node.kind = Kind::kString;
    node.string = std::move(value);
    return add(std::move(node));
  }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Kind::kTable); }
  bool start_array(size_t) override { return open(Kind::kList); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    key_place_ = place();
    key_ = name;
    if (stack_.back()->find(name) != nullptr) {
      throw_input("{}: \"{}\" occurs twice in the same object", key_place_, name);
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    // The library's text begins with a code in brackets that says nothing to the reader.
    std::string_view message = error.what();
    const size_t colon = message.find(": ");
    if (colon != std::string_view::npos) message.remove_prefix(colon + 2);
    const size_t offset = std::min(position == 0 ? 0 : position - 1, text_.size());
    throw_input("{}: not valid JSON: {}", place_at(text_.data() + offset), message);
  }

 private:
  // Where the present token begins: the parser has consumed it, and at most one character more.
  std::string place() {
    const char* start = token_end_ == nullptr ? text_.data() : token_end_;
    while (start < consumed_ && std::string_view(" \t\r\n,:]}").find(*start) != std::string_view::npos) ++start;
    token_end_ = consumed_;
    return place_at(start);
  }
  // Positions are asked in rising order, so lines are counted once.
  std::string place_at(const char* at) {
    for (; counted_ < at; ++counted_) {
      if (*counted_ == '\n') {
        ++line_;
        line_start_ = counted_ + 1;
      }
    }
    return fmt::format("{}:{}:{}", name_, line_, std::max<std::ptrdiff_t>(at - line_start_, 0) + 1);
  }
  bool open(Kind kind) {
    TreeNode node;
    node.kind = kind;
    TreeNode* added = attach(std::move(node));
    if (stack_.size() > kMaxDepth) throw_too_deep(added->place);
    stack_.push_back(added);
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  bool add(TreeNode node) {
    attach(std::move(node));
    return true;
  }
  TreeNode* attach(TreeNode node) {
    node.place = place();
    if (stack_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    TreeNode& parent = *stack_.back();
    if (parent.kind == Kind::kList) {
      parent.list.push_back(std::move(node));
      return &parent.list.back();
    }
    node.place = key_place_;
    parent.table.emplace_back(std::move(key_), std::move(node));
    return &parent.table.back().second;
  }

  std::string_view text_;
  std::string name_;
  const char* consumed_;
  const char* token_end_ = nullptr;
  const char* line_start_;
  const char* counted_;
  size_t line_ = 1;
  std::string key_, key_place_;
  TreeNode root_;
  // Points into vectors that grow only at their end below the last entry, whose parents do not move meanwhile.
  std::vector<TreeNode*> stack_;
};

// ---- Values ----

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                              std::string_view::npos;
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
  check_key_depth(text, name);
  try {
    const toml::table table = toml::parse(text, name);
    SettingsTree tree;
    static_cast<TreeNode&>(*tree.root_) = from_toml_node(table, name, 0);
    return tree;
  } catch (const toml::parse_error& error) {
    throw_input("{}: not valid TOML: {}", place_of(name, error.source()), error.description());
  }
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
  static_cast<TreeNode&>(*tree.root_) = JsonReader(text, name).read();
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
  TreeNode value = parse_override_value(std::string(words.substr(equals + 1)));
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
  std::string value;
  read_value(*node, dotted_name, value, SettingInfo{});
  return value;
}

bool SettingsTree::contains(std::string_view dotted_name) const { return find_dotted(*root_, dotted_name) != nullptr; }

void SettingsTree::apply_to(Settings& settings) const {
  KnownNames known;
  std::vector<UnknownKey> unknown;
  Reader reader(root_.get(), "", known, unknown);
  settings.visit(reader);
  reader.finish();
  if (!unknown.empty()) throw_unknown(settings, unknown.front(), known);
}

}  // namespace verbatim
