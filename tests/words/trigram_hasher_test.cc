#include "words/trigram_hasher.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "words/trigram_rows.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;
const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree";

std::vector<Json> json_lines(const std::filesystem::path& file) {
  std::vector<Json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

TrigramOptions strict_options(uint32_t vocabulary, uint32_t ids, uint32_t shared, bool whole_words = false) {
  return {.vocabulary = vocabulary,
          .ids_per_trigram = ids,
          .shared_ids = shared,
          .whole_words = whole_words,
          .strict = true};
}

// The rows of a word as the golden files have them: [T][m].
std::vector<std::vector<int32_t>> rows_of(const TrigramHasher& hasher, const std::string& word) {
  WordRows rows;
  hasher.hash(word, rows);
  const size_t m = hasher.options().ids_per_trigram;
  std::vector<std::vector<int32_t>> lists;
  for (size_t t = 0; t < rows.row_keys.size(); ++t) {
    lists.emplace_back(rows.ids.begin() + static_cast<ptrdiff_t>(t * m),
                       rows.ids.begin() + static_cast<ptrdiff_t>((t + 1) * m));
  }
  return lists;
}

std::vector<int32_t> set_of(const TrigramHasher& hasher, const std::string& word) {
  std::vector<int32_t> ids;
  hasher.append_ids(word, ids);
  const std::set<int32_t> distinct(ids.begin(), ids.end());
  return {distinct.begin(), distinct.end()};
}

// What is compared for one text of words.jsonl under one configuration.
void expect_rows(const TrigramHasher& hasher, const Json& words, const Json& golden) {
  for (size_t w = 0; w < words.size(); ++w) {
    const auto word = words[w].get<std::string>();
    ASSERT_EQ(Json(rows_of(hasher, word)), golden["rows"][w]) << word;
    ASSERT_EQ(Json(set_of(hasher, word)), golden["set"][w]) << word;
  }
}

TEST(trigram_hasher, repeats_every_row_of_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "needs the golden files of T-Free";
  const TrigramHasher a(strict_options(32000, 10, 2));
  const TrigramHasher b(strict_options(8000, 8, 0));
  const TrigramHasher c(strict_options(1024, 4, 2));
  const TrigramHasher d(strict_options(8000, 8, 0, /*whole_words=*/true));
  const TrigramHasher e(strict_options(8000, 8, 3));
  size_t count = 0;
  for (const Json& line : json_lines(kGolden / "words.jsonl")) {
    expect_rows(a, line["words"], line["a"]);
    expect_rows(b, line["words"], line["b"]);
    ++count;
  }
  EXPECT_EQ(count, 2200u);
  for (const Json& line : json_lines(kGolden / "words_more_configs.jsonl")) {
    const auto name = line["config"].get<std::string>();
    expect_rows(name == "c" ? c : name == "d" ? d : e, line["words"], line);
  }
}

}  // namespace
}  // namespace verbatim
