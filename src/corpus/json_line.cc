#include "corpus/json_line.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

namespace verbatim {
namespace {

constexpr int kDeepest = 256;

// True when one of the eight bytes is a quote, a backslash or a control character.
bool has_special(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  const auto has_zero = [&](uint64_t w) { return (w - kOnes) & ~w & kHighs; };
  const uint64_t control = (word - kOnes * 0x20) & ~word & kHighs;
  return (has_zero(word ^ kOnes * '"') | has_zero(word ^ kOnes * '\\') | control) != 0;
}

class Reader {
 public:
  Reader(std::string_view line, std::string_view field) : line_(line), field_(field) {}

  std::optional<JsonLineError> read(std::string& text) {
    skip_space();
    if (at_end() || line_[place_] != '{') return error("expected a JSON object: '{'");
    if (!object(&text, 0)) return error_;
    skip_space();
    if (!at_end()) return error("unexpected text after the object");
    if (!found_) return JsonLineError{0, fmt::format("no member \"{}\"", field_)};
    return std::nullopt;
  }

 private:
  [[nodiscard]] bool at_end() const { return place_ == line_.size(); }

  JsonLineError error(std::string message) { return {place_, std::move(message)}; }

  bool fail(std::string message) {
    error_ = error(std::move(message));
    return false;
  }

  void skip_space() {
    while (!at_end() &&
           (line_[place_] == ' ' || line_[place_] == '\t' || line_[place_] == '\r' || line_[place_] == '\n')) {
      ++place_;
    }
  }

  bool expect(char c, const char* message) {
    skip_space();
    if (at_end() || line_[place_] != c) return fail(message);
    ++place_;
    return true;
  }

  // `text` is given for the outermost object only: there the member is looked for.
  bool object(std::string* text, int depth) {
    if (depth > kDeepest) return fail("nested too deeply");
    ++place_;
    skip_space();
    if (!at_end() && line_[place_] == '}') {
      ++place_;
      return true;
    }
    while (true) {
      skip_space();
      if (at_end() || line_[place_] != '"') return fail("expected a member name in quotes");
      bool wanted = false;
      if (text != nullptr) {
        name_.clear();
        if (!string(&name_)) return false;
        wanted = name_ == field_;
      } else if (!string(nullptr)) {
        return false;
      }
      if (!expect(':', "expected ':' after a member name")) return false;
      skip_space();
      if (wanted) {
        if (at_end() || line_[place_] != '"') return fail(fmt::format("member \"{}\" is no string", field_));
        text->clear();
        found_ = true;
        if (!string(text)) return false;
      } else if (!value(depth)) {
        return false;
      }
      skip_space();
      if (at_end()) return fail("the object does not end: expected ',' or '}'");
      const char c = line_[place_];
      if (c != ',' && c != '}') return fail("expected ',' or '}'");
      ++place_;
      if (c == '}') return true;
    }
  }

  bool array(int depth) {
    if (depth > kDeepest) return fail("nested too deeply");
    ++place_;
    skip_space();
    if (!at_end() && line_[place_] == ']') {
      ++place_;
      return true;
    }
    while (true) {
      skip_space();
      if (!value(depth)) return false;
      skip_space();
      if (at_end()) return fail("the list does not end: expected ',' or ']'");
      const char c = line_[place_];
      if (c != ',' && c != ']') return fail("expected ',' or ']'");
      ++place_;
      if (c == ']') return true;
    }
  }

  bool value(int depth) {
    if (at_end()) return fail("expected a value");
    switch (line_[place_]) {
      case '"':
        return string(nullptr);
      case '{':
        return object(nullptr, depth + 1);
      case '[':
        return array(depth + 1);
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  bool word(std::string_view expected) {
    if (line_.substr(place_, expected.size()) != expected) return fail("expected a value");
    place_ += expected.size();
    return true;
  }

  bool digits() {
    const size_t first = place_;
    while (!at_end() && line_[place_] >= '0' && line_[place_] <= '9') ++place_;
    return place_ > first;
  }

  bool number() {
    if (line_[place_] == '-') ++place_;
    if (!at_end() && line_[place_] == '0') {
      ++place_;
    } else if (!digits()) {
      return fail("expected a value");
    }
    if (!at_end() && line_[place_] == '.') {
      ++place_;
      if (!digits()) return fail("expected digits after '.'");
    }
    if (!at_end() && (line_[place_] == 'e' || line_[place_] == 'E')) {
      ++place_;
      if (!at_end() && (line_[place_] == '+' || line_[place_] == '-')) ++place_;
      if (!digits()) return fail("expected digits in the exponent");
    }
    return true;
  }

  // Reads a string; appends its bytes to `out` when given.
  bool string(std::string* out) {
    ++place_;
    while (true) {
      const size_t first = place_;
      uint64_t eight;
      while (place_ + sizeof(eight) <= line_.size()) {
        std::memcpy(&eight, line_.data() + place_, sizeof(eight));
        if (has_special(eight)) break;
        place_ += sizeof(eight);
      }
      while (!at_end() && line_[place_] != '"' && line_[place_] != '\\' &&
             static_cast<uint8_t>(line_[place_]) >= 0x20) {
        ++place_;
      }
      if (out != nullptr) out->append(line_, first, place_ - first);
      if (at_end()) return fail("the string does not end");
      const char c = line_[place_];
      if (c == '"') {
        ++place_;
        return true;
      }
      if (c != '\\') return fail("control character in a string; it must be escaped");
      if (!escape(out)) return false;
    }
  }

  bool escape(std::string* out) {
    if (place_ + 1 >= line_.size()) return fail("the string does not end");
    char c = line_[place_ + 1];
    switch (c) {
      case 'b':
        c = '\b';
        break;
      case 'f':
        c = '\f';
        break;
      case 'n':
        c = '\n';
        break;
      case 'r':
        c = '\r';
        break;
      case 't':
        c = '\t';
        break;
      case 'u':
        return unicode_escape(out);
      case '"':
      case '\\':
      case '/':
        break;
      default:
        return fail("unknown escape");
    }
    place_ += 2;
    if (out != nullptr) out->push_back(c);
    return true;
  }

  // The number of a \uXXXX at `place`, or -1.
  [[nodiscard]] int32_t four_digits(size_t place) const {
    if (place + 6 > line_.size() || line_[place] != '\\' || line_[place + 1] != 'u') return -1;
    int32_t number = 0;
    for (size_t i = place + 2; i < place + 6; ++i) {
      const char c = line_[i];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return -1;
      number = number * 16 + digit;
    }
    return number;
  }

  bool unicode_escape(std::string* out) {
    int32_t code = four_digits(place_);
    if (code < 0) return fail("expected four hexadecimal digits after \\u");
    size_t length = 6;
    if (code >= 0xD800 && code < 0xE000) {
      const int32_t low = code < 0xDC00 ? four_digits(place_ + 6) : -1;
      if (low < 0xDC00 || low >= 0xE000) return fail("half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      length = 12;
    }
    place_ += length;
    if (out == nullptr) return true;
    const auto put = [&](int32_t byte) { out->push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | code >> 6);
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    }
    return true;
  }

  std::string_view line_;
  std::string_view field_;
  size_t place_ = 0;
  std::string name_;
  bool found_ = false;
  JsonLineError error_;
};

}  // namespace

std::optional<JsonLineError> read_json_member(std::string_view line, std::string_view field, std::string& text) {
  text.clear();
  return Reader(line, field).read(text);
}

}  // namespace verbatim
