#pragma once

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

// The golden files of fixed blocks, made from the written specification outside of this project's code.
namespace verbatim::golden {

using Json = nlohmann::json;

inline const std::filesystem::path kFolder = std::filesystem::path(VERBATIM_SHARED) / "golden/tokun";

inline std::vector<Json> read_lines(const char* name) {
  std::istringstream lines(read_file(kFolder / name));
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) rows.push_back(Json::parse(line));
  }
  return rows;
}

inline std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    uint8_t value = 0;
    std::from_chars(digits.data() + i, digits.data() + i + 2, value, 16);
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

inline std::u32string code_points(const Json& list) {
  std::u32string units;
  for (const Json& value : list) units.push_back(value.get<uint32_t>());
  return units;
}

// The texts of blocks.jsonl by their names.
inline std::map<std::string, std::string> texts() {
  std::map<std::string, std::string> by_name;
  for (const Json& row : read_lines("blocks.jsonl")) by_name[row["id"]] = row["text"];
  return by_name;
}

}  // namespace verbatim::golden

#define SKIP_WITHOUT_GOLDEN()                                    \
  if (!std::filesystem::exists(::verbatim::golden::kFolder)) {   \
    GTEST_SKIP() << ::verbatim::golden::kFolder << " is absent"; \
  }
