#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

// Configurations of public checkpoints, read with messages that name the file and the key.
namespace verbatim {

// Reads members of an object with messages that name the file and the key. null stands for absent.
class JsonMembers {
 public:
  JsonMembers(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}

  [[nodiscard]] const nlohmann::json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  [[nodiscard]] std::optional<int64_t> maybe_integer(const char* key, int64_t least, int64_t most) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    return checked_integer(*value, key, least, most);
  }

  [[nodiscard]] int64_t integer(const char* key, int64_t least, int64_t most) const {
    const std::optional<int64_t> value = maybe_integer(key, least, most);
    if (!value.has_value()) throw_input("{}: {} is missing; expected a whole number", where_, key);
    return *value;
  }

  [[nodiscard]] double number(const char* key, double otherwise, double least, double most) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) throw_input("{}: {} is {}, expected a number", where_, key, shown(*value));
    const double number = value->get<double>();
    if (!(number >= least && number <= most)) {
      throw_input("{}: {} is {}, expected {} to {}", where_, key, number, least, most);
    }
    return number;
  }

  [[nodiscard]] bool boolean(const char* key, bool otherwise) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) throw_input("{}: {} is {}, expected true or false", where_, key, shown(*value));
    return value->get<bool>();
  }

  [[nodiscard]] std::string word(const char* key, const std::string& otherwise) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) throw_input("{}: {} is {}, expected a string", where_, key, shown(*value));
    return value->get<std::string>();
  }

  // An id, or the first of a list of ids.
  [[nodiscard]] int64_t id(const char* key, int64_t vocab_size) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return -1;
    if (value->is_array()) {
      if (value->empty()) return -1;
      value = &value->front();
    }
    return checked_integer(*value, key, 0, vocab_size - 1);
  }

  // Keys that are not in the list are refused.
  void refuse_unknown(std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) throw_input("{}: unknown key \"{}\"", where_, key);
    }
  }

  // A JSON value for a message: short, one line.
  [[nodiscard]] static std::string shown(const nlohmann::json& value) {
    std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    constexpr size_t kMost = 60;
    if (text.size() > kMost) text = text.substr(0, kMost) + "...";
    return text;
  }

 private:
  [[nodiscard]] int64_t checked_integer(const nlohmann::json& value, const char* key, int64_t least,
                                        int64_t most) const {
    if (!value.is_number_integer()) {
      throw_input("{}: {} is {}, expected a whole number", where_, key, shown(value));
    }
    const bool too_large = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(most);
    if (too_large || value.get<int64_t>() < least || value.get<int64_t>() > most) {
      throw_input("{}: {} is {}, expected {} to {}", where_, key, shown(value), least, most);
    }
    return value.get<int64_t>();
  }

  const nlohmann::json& object_;
  std::string where_;
};

inline nlohmann::json parse_json_object(std::string_view json, std::string_view where) {
  nlohmann::json config;
  try {
    config = nlohmann::json::parse(json);
  } catch (const nlohmann::json::exception& error) {
    throw_input("{}: not JSON: {}", where, error.what());
  }
  if (!config.is_object()) throw_input("{}: expected an object, found {}", where, JsonMembers::shown(config));
  return config;
}

}  // namespace verbatim
