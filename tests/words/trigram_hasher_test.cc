#include "words/trigram_hasher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
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
const std::filesystem::path kFacts = std::filesystem::path(VERBATIM_TEST_DATA) / "words";

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

// Rows and sets of words.jsonl and words_more_configs.jsonl in a folder; returns the number of texts.
size_t expect_golden_rows(const std::filesystem::path& folder) {
  const TrigramHasher a(strict_options(32000, 10, 2));
  const TrigramHasher b(strict_options(8000, 8, 0));
  const TrigramHasher c(strict_options(1024, 4, 2));
  const TrigramHasher d(strict_options(8000, 8, 0, /*whole_words=*/true));
  const TrigramHasher e(strict_options(8000, 8, 3));
  size_t count = 0;
  for (const Json& line : json_lines(folder / "words.jsonl")) {
    expect_rows(a, line["words"], line["a"]);
    expect_rows(b, line["words"], line["b"]);
    ++count;
  }
  for (const Json& line : json_lines(folder / "words_more_configs.jsonl")) {
    const auto name = line["config"].get<std::string>();
    expect_rows(name == "c" ? c : name == "d" ? d : e, line["words"], line);
    ++count;
  }
  return count;
}

TEST(trigram_hasher, repeats_every_row_of_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "needs the golden files of T-Free";
  EXPECT_GT(expect_golden_rows(kGolden), 2200u);
}

TEST(trigram_hasher, repeats_an_extract_of_the_rows_of_the_reference) { EXPECT_GT(expect_golden_rows(kFacts), 20u); }

std::string bytes_of(uint32_t trigram) {
  return {static_cast<char>(trigram & 0xFF), static_cast<char>(trigram >> 8 & 0xFF), static_cast<char>(trigram >> 16)};
}

TEST(trigram_hasher, wraps_words_in_blanks_and_counts_each_trigram_once) {
  const TrigramHasher hasher(strict_options(1000, 4, 0));
  WordRows rows;
  hasher.hash("anana", rows);
  std::vector<std::string> trigrams;
  for (const uint64_t key : rows.row_keys) trigrams.push_back(bytes_of(key & 0xFFFFFF));
  EXPECT_EQ(trigrams, (std::vector<std::string>{" an", "ana", "nan", "na "}));
  EXPECT_EQ(rows.edge, (std::vector<uint8_t>{1, 0, 0, 1}));
  hasher.hash("a", rows);
  EXPECT_EQ(rows.row_keys.size(), 1u);
  hasher.hash(std::string(100000, 'a'), rows);
  EXPECT_EQ(rows.row_keys.size(), 3u);
}

TEST(trigram_hasher, keeps_the_first_of_each_trigram_in_words_of_any_length) {
  const TrigramHasher hasher({.vocabulary = 100, .ids_per_trigram = 1, .shared_ids = 0, .strict = true});
  Random random(5);
  for (const size_t size : {1u, 2u, 3u, 31u, 32u, 300u, 5000u, 40000u}) {
    for (const uint64_t letters : {uint64_t{2}, uint64_t{100}}) {
      std::string word;
      while (word.size() < size) word += static_cast<char>('A' + random.below(letters));
      const std::string wrapped = " " + word + " ";
      std::vector<uint32_t> expected;
      std::set<uint32_t> known;
      for (size_t i = 0; i + 3 <= wrapped.size(); ++i) {
        const uint32_t trigram = trigram_number(wrapped.data() + i);
        if (known.insert(trigram).second) expected.push_back(trigram);
      }
      WordRows rows;
      hasher.hash(word, rows);
      std::vector<uint32_t> found;
      for (const uint64_t key : rows.row_keys) found.push_back(key & 0xFFFFFF);
      ASSERT_EQ(found, expected) << size;
    }
  }
}

size_t shared(const TrigramHasher& hasher, const std::string& a, const std::string& b) {
  const std::vector<int32_t> one = set_of(hasher, a), two = set_of(hasher, b);
  std::vector<int32_t> both;
  std::set_intersection(one.begin(), one.end(), two.begin(), two.end(), std::back_inserter(both));
  return both.size();
}

TEST(trigram_hasher, shares_ids_between_spellings_under_the_improved_rules) {
  // The vocabulary is so large that ids hardly meet by chance.
  const TrigramHasher hasher({.vocabulary = 1 << 30, .ids_per_trigram = 10, .shared_ids = 3});
  EXPECT_EQ(shared(hasher, "THE", "the"), 3 * 3u);
  EXPECT_EQ(shared(hasher, "THE", "tHE"), 3 + 3 + 10u);  // "HE " is equal
  EXPECT_EQ(shared(hasher, "ÄPFEL", "äpfel"), 6 * 3u);
  EXPECT_EQ(shared(hasher, "МОСКВА", "москва"), 12 * 3u);
  EXPECT_EQ(shared(hasher, "STRASSE", "straße"), 7 * 3u);
  const TrigramHasher strict({.vocabulary = 1 << 30, .ids_per_trigram = 10, .shared_ids = 3, .strict = true});
  EXPECT_EQ(shared(strict, "МОСКВА", "москва"), 0u);
}

TEST(trigram_hasher, spreads_shared_ids_and_keeps_rows_distinct_under_the_improved_rules) {
  for (const uint32_t vocabulary : {12u, 1000u}) {
    const TrigramHasher hasher({.vocabulary = vocabulary, .ids_per_trigram = 10, .shared_ids = 4});
    Random random(1);
    double sum = 0;
    size_t count = 0;
    for (int i = 0; i < 2000; ++i) {
      std::string word;
      for (int j = 0; j < 3; ++j) word += static_cast<char>('A' + random.below(26));
      std::string lower = word;
      for (char& c : lower) c = static_cast<char>(c - 'A' + 'a');
      const uint32_t upper_number = trigram_number(word.data()), lower_number = trigram_number(lower.data());
      const std::span<const int32_t> row = hasher.row(upper_number, lower_number);
      const std::span<const int32_t> base = hasher.row(lower_number, lower_number);
      ASSERT_EQ(std::set<int32_t>(row.begin(), row.end()).size(), 10u);
      ASSERT_TRUE(std::is_sorted(row.begin(), row.end()));
      size_t common = 0;
      for (const int32_t id : row) {
        if (!std::binary_search(base.begin(), base.end(), id)) continue;
        sum += id;
        ++count;
        ++common;
      }
      ASSERT_GE(common, 4u);
    }
    EXPECT_NEAR(sum / static_cast<double>(count) / (vocabulary - 1), 0.5, 0.03);
  }
}

TEST(trigram_hasher, gives_markers_and_whole_words_one_row) {
  for (const bool strict : {false, true}) {
    const TrigramHasher hasher({.vocabulary = 12, .ids_per_trigram = 10, .shared_ids = 2, .strict = strict});
    WordRows rows;
    hasher.hash("<|endoftext|>", rows);
    ASSERT_EQ(rows.row_keys.size(), 1u);
    EXPECT_EQ(rows.edge[0], 0);
    if (!strict) {
      EXPECT_EQ(std::set<int32_t>(rows.ids.begin(), rows.ids.end()).size(), 10u);
    }
    WordRows other;
    hasher.hash("<|ENDOFTEXT|>", other);
    EXPECT_NE(rows.row_keys[0], other.row_keys[0]);
  }
}

TEST(trigram_hasher, gives_the_same_ids_on_every_way_and_with_any_room) {
  const std::string long_word(1000, 'x');
  const std::vector<std::string> words = {"the", "The", "MÄRZ", "<|ws|>", "a", long_word, "中", "\xFF", "the"};
  std::vector<std::vector<int32_t>> expected;
  for (const uint64_t room : {uint64_t{0}, uint64_t{400}, uint64_t{1} << 20}) {
    const TrigramHasher hasher({.vocabulary = 500, .cache_bytes = room});
    std::vector<Word> list;
    for (int i = 0; i < 10; ++i) {
      for (const std::string& word : words) list.push_back({word, 0});
    }
    IdLists lists;
    hasher.append_lists(list, lists);
    ASSERT_EQ(lists.list.size(), list.size());
    for (size_t i = 0; i < list.size(); ++i) {
      std::vector<int32_t> ids;
      WordRows rows;
      hasher.append_ids(list[i].text, ids);
      hasher.hash(list[i].text, rows);
      EXPECT_EQ(ids, rows.ids);
      EXPECT_EQ(ids, std::vector<int32_t>(lists.list[i].begin(), lists.list[i].end()));
      if (room == 0) {
        expected.push_back(ids);
      } else {
        EXPECT_EQ(ids, expected[i]);
      }
    }
  }
}

TEST(trigram_hasher, gives_the_same_ids_in_many_threads) {
  const TrigramHasher hasher({.vocabulary = 5000, .cache_bytes = 100000});
  const TrigramHasher alone({.vocabulary = 5000, .cache_bytes = 0});
  std::atomic<int> mistakes = 0;
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        Random random(t / 2);  // two threads ask for the same words at the same time
        for (int i = 0; i < 3000; ++i) {
          std::string word;
          for (uint64_t n = 1 + random.below(6); n > 0; --n) word += static_cast<char>('A' + random.below(58));
          std::vector<int32_t> ids, again;
          hasher.append_ids(word, ids);
          alone.append_ids(word, again);
          if (ids != again) ++mistakes;
        }
      });
    }
  }
  EXPECT_EQ(mistakes, 0);
}

TEST(trigram_hasher, refuses_what_no_row_can_meet) {
  EXPECT_THROW(TrigramHasher({.vocabulary = 0}), InputError);
  EXPECT_THROW(TrigramHasher({.vocabulary = 9, .ids_per_trigram = 10}), InputError);
  EXPECT_THROW(TrigramHasher({.vocabulary = 1u << 31, .ids_per_trigram = 10}), InputError);
  EXPECT_THROW(TrigramHasher({.ids_per_trigram = 0, .shared_ids = 0}), InputError);
  EXPECT_THROW(TrigramHasher({.ids_per_trigram = 4, .shared_ids = 5}), InputError);
  const TrigramHasher hasher({.vocabulary = 10});
  WordRows rows;
  std::vector<int32_t> ids;
  EXPECT_THROW(hasher.hash("", rows), InputError);
  EXPECT_THROW(hasher.append_ids("", ids), InputError);
  hasher.hash("all ids", rows);  // V == m
  EXPECT_EQ(rows.ids.size(), rows.row_keys.size() * 10);
}

}  // namespace
}  // namespace verbatim
