#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace verbatim {

// An ordered set of named values: one JSON object, or one line (or block) of text.
class Record {
 public:
  using Value =
      std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                   std::vector<std::string>, std::vector<Record>, std::shared_ptr<const Record>, std::monostate>;

  Record& set(std::string name, bool value) { return add(std::move(name), value); }
  Record& set(std::string name, double value) { return add(std::move(name), value); }
  Record& set(std::string name, std::string_view value) { return add(std::move(name), std::string(value)); }
  Record& set(std::string name, const char* value) { return add(std::move(name), std::string(value)); }
  Record& set(std::string name, std::vector<int64_t> value) { return add(std::move(name), std::move(value)); }
  Record& set(std::string name, std::vector<double> value) { return add(std::move(name), std::move(value)); }
  Record& set(std::string name, std::vector<std::string> value) { return add(std::move(name), std::move(value)); }
  Record& set(std::string name, std::vector<Record> value) { return add(std::move(name), std::move(value)); }
  Record& set(std::string name, Record value);
  Record& set_null(std::string name) { return add(std::move(name), std::monostate{}); }
  template <std::integral Integer>
  requires(!std::same_as<Integer, bool>) Record& set(std::string name, Integer value) {
    return add(std::move(name), static_cast<int64_t>(value));
  }
  // A piece of text that may be any bytes: "text" when it is valid UTF-8, otherwise "bytes" with the list of values.
  Record& set_text(std::string_view bytes);

  [[nodiscard]] const std::vector<std::pair<std::string, Value>>& fields() const { return fields_; }

 private:
  Record& add(std::string name, Value value);

  std::vector<std::pair<std::string, Value>> fields_;
};

// Results of a command on stdout: text for people, or with --json one object per line.
class Output {
 public:
  enum class Format { kText, kJson };
  explicit Output(Format format) : format_(format) {}

  [[nodiscard]] bool is_json() const { return format_ == Format::kJson; }

  // Writes bytes as they are; ignored with --json.
  void text(std::string_view bytes);
  // Writes one JSON object on a line; ignored without --json.
  void json(const Record& record);
  // Both: a JSON line, or the fields as an aligned block "name  value" with numbers shortened for reading.
  void record(const Record& record);
  // Makes what was written visible now (streamed text). Throws std::system_error when stdout refuses it.
  void flush();

 private:
  Format format_;
};

// One JSON object without a newline. Strings that are not valid UTF-8 get U+FFFD in place of the invalid bytes.
[[nodiscard]] std::string to_json_line(const Record& record);

}  // namespace verbatim
