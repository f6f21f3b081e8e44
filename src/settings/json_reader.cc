#include <iterator>
#include <nlohmann/json.hpp>

#include "settings/tree_node.h"

namespace verbatim::settings_tree {
namespace {

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

}  // namespace

TreeNode read_json(std::string_view text, std::string_view name) { return JsonReader(text, name).read(); }

}  // namespace verbatim::settings_tree
