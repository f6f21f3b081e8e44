#include "cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace verbatim {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Record& record);

Json to_json(const Record::Value& value) {
  return std::visit(
      [](const auto& held) -> Json {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<T, std::shared_ptr<const Record>>) {
          return to_json(*held);
        } else if constexpr (std::is_same_v<T, std::vector<Record>>) {
          Json list = Json::array();
          for (const Record& item : held) list.push_back(to_json(item));
          return list;
        } else {
          return held;
        }
      },
      value);
}

Json to_json(const Record& record) {
  Json object = Json::object();
  for (const auto& [name, value] : record.fields()) object[name] = to_json(value);
  return object;
}

std::string to_words(const Record::Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return "-";
        } else if constexpr (std::is_same_v<T, bool>) {
          return held ? "yes" : "no";
        } else if constexpr (std::is_same_v<T, double>) {
          return fmt::format("{:.5g}", held);
        } else if constexpr (std::is_same_v<T, std::shared_ptr<const Record>>) {
          return to_json_line(*held);
        } else if constexpr (std::is_same_v<T, std::vector<Record>>) {
          std::string words;
          for (const Record& item : held) words += (words.empty() ? "" : " ") + to_json_line(item);
          return words;
        } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, int64_t>) {
          return fmt::format("{}", held);
        } else {
          return fmt::format("{}", fmt::join(held, " "));
        }
      },
      value);
}

void write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) throw_system(errno, "cannot write", "stdout");
}

}  // namespace

Record& Record::add(std::string name, Value value) {
  fields_.emplace_back(std::move(name), std::move(value));
  return *this;
}

Record& Record::set(std::string name, Record value) {
  return add(std::move(name), std::make_shared<const Record>(std::move(value)));
}

Record& Record::set_text(std::string_view bytes) {
  try {
    (void)Json(std::string(bytes)).dump();  // throws when it is not valid UTF-8
    return set("text", bytes);
  } catch (const Json::type_error&) {
    std::vector<int64_t> values;
    values.reserve(bytes.size());
    for (const char c : bytes) values.push_back(static_cast<unsigned char>(c));
    return set("bytes", std::move(values));
  }
}

std::string to_json_line(const Record& record) {
  return to_json(record).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

void Output::text(std::string_view bytes) {
  if (!is_json()) write(bytes);
}

void Output::json(const Record& record) {
  if (is_json()) write(to_json_line(record) + "\n");
}

void Output::record(const Record& record) {
  json(record);
  size_t width = 0;
  for (const auto& [name, value] : record.fields()) width = std::max(width, name.size());
  for (const auto& [name, value] : record.fields()) text(fmt::format("{:<{}}  {}\n", name, width, to_words(value)));
}

void Output::flush() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw_system(errno, "cannot write", "stdout");
}

}  // namespace verbatim
