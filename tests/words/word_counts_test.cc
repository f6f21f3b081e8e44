#include "words/word_counts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

// What the reference made of two counters; a copy of its file, see tests/data/words/README.md.
const Json& golden() {
  static const Json instance = Json::parse(std::ifstream(VERBATIM_TEST_DATA "/words/dictionary_build.json"));
  return instance;
}

WordCounts golden_counter(const char* name) { return golden()[name].get<WordCounts>(); }

WordCounts golden_list(const char* name) {
  WordCounts words;
  for (size_t i = 0; i < golden()[name][0].size(); ++i) words.emplace_back(golden()[name][0][i], golden()[name][1][i]);
  return words;
}

using Groups = std::vector<std::vector<WordCounts>>;

TEST(word_counts, are_ordered_as_the_reference_does_at_load) {
  const std::vector<WordCounts> counters = {golden_counter("counter_1")};
  const WordCounts words = words_at_load(counters);
  EXPECT_EQ(words, golden_list("load_with_counter_1"));
  EXPECT_EQ(reduce_words(words, 5, /*strict=*/true), golden_list("load_with_counter_1_reduced_to_5"));
}

TEST(word_counts, make_the_lists_of_the_reference_script) {
  const WordCounts one = golden_counter("counter_1");
  const WordCounts two = golden_counter("counter_2");
  EXPECT_EQ(generate_words(Groups{{one}}), golden_list("generate_one_file"));
  EXPECT_EQ(generate_words(Groups{{one, two}}), golden_list("generate_two_files_one_group"));
  EXPECT_EQ(generate_words(Groups{{one}, {two}}), golden_list("generate_two_groups_interleaved"));
}

TEST(word_counts, interleave_the_longer_group_first) {
  const WordCounts longer = {{"a", 3}, {"b", 2}, {"c", 1}};
  const WordCounts shorter = {{"x", 9}, {"a", 8}};
  for (const Groups& groups : {Groups{{longer}, {shorter}}, Groups{{shorter}, {longer}}}) {
    WordCounts words = generate_words(groups);
    words.erase(words.begin(), words.begin() + 16);
    EXPECT_EQ(words, (WordCounts{{"a", 11}, {"x", 9}, {"b", 2}, {"c", 1}}));
  }
}

TEST(word_counts, stop_at_the_limit) {
  EXPECT_EQ(generate_words(Groups{{golden_counter("counter_1")}}, 18).back().first, ".");
  EXPECT_EQ(generate_words(Groups{}, 3).size(), 3U);
}

TEST(word_counts, without_occurrence_vanish_and_sums_do_not_wrap) {
  const std::vector<WordCounts> counters = {{{"a", 0}, {"b", ~uint64_t{0}}}, {{"b", 2}, {"c", 1}}};
  EXPECT_EQ(add_counters(counters), (WordCounts{{"b", ~uint64_t{0}}, {"c", 1}}));
}

TEST(word_counts, keep_special_words_when_reduced) {
  const WordCounts words = {{"a", 4}, {"b", 3}, {"<|user|>", 2}, {"c", 1}, {"<|ws|>", 0}};
  EXPECT_EQ(reduce_words(words, 3, false), (WordCounts{{"a", 4}, {"<|user|>", 2}, {"<|ws|>", 0}}));
  EXPECT_EQ(reduce_words(words, 1, false), (WordCounts{{"<|user|>", 2}, {"<|ws|>", 0}}));
  EXPECT_EQ(reduce_words(words, 3, true), (WordCounts{{"a", 4}, {"b", 3}, {"<|user|>", 2}}));
  EXPECT_EQ(reduce_words(words, 9, false), words);
}

TEST(word_counts, are_read_from_a_list) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "word_counts_test.txt";
  std::ofstream(file, std::ios::binary) << "the\r\n\ncat\n\xC3\xA4pfel";
  EXPECT_EQ(read_word_list(file), (WordCounts{{"the", 1}, {"cat", 1}, {"\xC3\xA4pfel", 1}}));
  EXPECT_THROW((void)read_word_list("no/such/file"), InputError);
}

std::vector<std::string> made_up_documents() {
  Random random(5);
  std::vector<std::string> documents;
  for (size_t size : {0, 1, 100, 100'000, 3'500'000}) {
    std::string& text = documents.emplace_back();
    while (text.size() < size) {
      const size_t length = 1 + random.below(3);
      for (size_t i = 0; i < length; ++i) text += static_cast<char>('a' + random.below(26));
      text += random.below(10) == 0 ? "\n" : " ";
    }
  }
  return documents;
}

TEST(word_counts, of_documents_do_not_depend_on_threads) {
  const std::vector<std::string> documents = made_up_documents();
  const WordSplitter splitter;
  std::map<std::string, uint64_t> expected = {{"<|endoftext|>", documents.size()}};
  for (const std::string& document : documents) {
    Words words;
    splitter.split(document, words);
    for (const Word& word : words.list) ++expected[std::string(word.text)];
  }
  for (const unsigned num_threads : {1U, 3U}) {
    uint64_t seen = 0;
    const WordCounts counts =
        count_words(documents.size(), [&](uint64_t i) { return std::string_view(documents[i]); }, splitter,
                    {.num_threads = num_threads, .progress = [&](uint64_t bytes) { seen = bytes; }});
    EXPECT_EQ((std::map<std::string, uint64_t>(counts.begin(), counts.end())), expected);
    EXPECT_TRUE(std::is_sorted(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    }));
    EXPECT_GT(seen, 0U);
  }
}

TEST(word_counts, of_documents_pass_on_what_stops_them) {
  const std::string text(3'000'000, '\n');
  EXPECT_THROW((void)count_words(1, [&](uint64_t) { return std::string_view(text); }, WordSplitter(),
                                 {.num_threads = 2, .progress = [](uint64_t) { throw std::runtime_error("stop"); }}),
               std::runtime_error);
  EXPECT_TRUE(count_words(
                  0, [](uint64_t) { return std::string_view(); }, WordSplitter())
                  .empty());
}

}  // namespace
}  // namespace verbatim
