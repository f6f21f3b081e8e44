#include "words/dictionary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "words/reference/plain_dictionary.h"

namespace verbatim {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;
const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree";

class dictionary : public testing::Test {
 protected:
  std::filesystem::path write(std::string_view text) {
    const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "dictionary_test.jsonl";
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  std::string error_of(std::string_view text) {
    try {
      (void)Dictionary::load_words(write(text));
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }

  TrigramHasher hasher_{TrigramOptions{}};
  WordSplitter splitter_{SplitOptions{}};
};

TEST_F(dictionary, keeps_words_in_order_and_leaves_out_what_is_not_one_word) {
  const Dictionary words({{"cat", 7}, {"don't", 5}, {"a b", 1}, {"", 1}, {"dog", 3}, {"cat", 2}, {"<|ws|>", 0}},
                         hasher_, splitter_);
  ASSERT_EQ(words.size(), 3U);
  EXPECT_EQ(words.rejected(), 3U);
  EXPECT_EQ(words.word(0), "cat");
  EXPECT_EQ(words.count(0), 9U);
  EXPECT_EQ(words.word(1), "dog");
  EXPECT_EQ(words.find("<|ws|>"), 2);
  EXPECT_EQ(words.find("dogs"), -1);
  EXPECT_EQ(words.find(""), -1);
  EXPECT_THAT(words.counts(), testing::ElementsAre(9, 3, 0));
}

TEST_F(dictionary, takes_the_special_words_of_the_splitter) {
  const WordSplitter splitter(SplitOptions{.special_words = {"<|user|>"}});
  const Dictionary words({{"<|user|>", 1}, {"<|other|>", 1}}, hasher_, splitter);
  EXPECT_EQ(words.find("<|user|>"), 0);
  EXPECT_EQ(words.size(), 1U);
}

TEST_F(dictionary, may_be_empty) {
  const Dictionary words({}, hasher_, splitter_);
  EXPECT_EQ(words.size(), 0U);
  EXPECT_EQ(words.find("a"), -1);
}

TEST_F(dictionary, counts_different_trigrams_once) {
  // " ab", "ab ", and "aba", "ba " of the second word.
  EXPECT_EQ(Dictionary({{"ab", 1}, {"aba", 1}}, hasher_, splitter_).distinct_rows(), 4U);
}

TEST_F(dictionary, is_read_as_it_was_written) {
  const WordCounts words = {{"the", 50}, {"\"quoted\"\\", 3}, {"l\xC3\xA4uft", 2}, {"\xFF\x80", 1}, {"<|\n|>", 0}};
  const std::string text = Dictionary::serialize(words);
  EXPECT_THAT(text, HasSubstr("[\"the\",50]\n"));
  EXPECT_THAT(text, HasSubstr("[{\"bytes\":[255,128]},1]\n"));
  EXPECT_EQ(Dictionary::load_words(write(text)), words);
  EXPECT_EQ(Dictionary::load_words(write("\n[\"a\", 1]\r\n\n[\"b\",2]")), (WordCounts{{"a", 1}, {"b", 2}}));
}

TEST_F(dictionary, names_file_and_line_of_what_is_wrong) {
  const auto expect_error = [&](std::string_view line, std::string_view message) {
    const std::string error = error_of("[\"good\",1]\n\n" + std::string(line) + "\n[\"good\",1]\n");
    EXPECT_THAT(error, HasSubstr("dictionary_test.jsonl:3: ")) << line;
    EXPECT_THAT(error, HasSubstr(std::string(message))) << line;
  };
  for (const char* line :
       {"word", "{\"a\":1}", "[\"a\"]", "[\"a\",1,2]", "[\"a\",1", "[\"a\",1] x", "3", "[\"\xFF\",1]"}) {
    expect_error(line, "expected a JSON array [word, count]");
  }
  for (const char* line : {"[\"a\",-1]", "[\"a\",1.5]", "[\"a\",\"1\"]", "[\"a\",null]"})
    expect_error(line, "expected a count");
  for (const char* line : {"[1,1]", "[null,1]", "[{},1]", "[{\"bytes\":1},1]", "[{\"bytes\":[1],\"x\":1},1]"}) {
    expect_error(line, "expected a word");
  }
  for (const char* line : {"[{\"bytes\":[256]},1]", "[{\"bytes\":[-1]},1]", "[{\"bytes\":[\"a\"]},1]"}) {
    expect_error(line, "expected bytes from 0 to 255");
  }
  EXPECT_THROW((void)Dictionary::load_words("no/such/file"), InputError);
}

TEST_F(dictionary, overlay_adds_what_is_missing_once) {
  const Dictionary base({{"cat", 7}, {"dog", 3}}, hasher_, splitter_);
  const std::vector<std::string_view> more = {"mouse", "cat", "mouse", "a b", "owl"};
  const DictionaryOverlay overlay(base, more);
  ASSERT_EQ(overlay.size(), 4U);
  EXPECT_EQ(overlay.word(1), "dog");
  EXPECT_EQ(overlay.word(2), "mouse");
  EXPECT_EQ(overlay.count(0), 7U);
  EXPECT_EQ(overlay.count(3), 0U);
  EXPECT_EQ(overlay.find("cat"), 0);
  EXPECT_EQ(overlay.find("owl"), 3);
  EXPECT_EQ(overlay.find("cow"), -1);
}

// The definition that the searches are tested against is the reference's own.
TEST(plain_dictionary, has_the_ids_of_the_reference) {
  const std::filesystem::path file = kGolden / "dictionary_rows.jsonl";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is absent";
  const std::map<std::string, TrigramOptions> configs = {
      {"a", {32000, 10, 2, false, true}}, {"b", {8000, 8, 0, false, true}}, {"c", {1024, 4, 2, false, true}}};
  std::map<std::string, std::unique_ptr<TrigramHasher>> hashers;
  for (const auto& [name, options] : configs) hashers[name] = std::make_unique<TrigramHasher>(options);
  const WordSplitter splitter(SplitOptions::strict());
  std::ifstream in(file);
  size_t lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    const Json golden = Json::parse(line);
    const auto word = golden["word"].get<std::string>();
    const TrigramHasher& hasher = *hashers.at(golden["config"]);
    const reference::PlainWord plain = reference::plain_word(hasher, word);
    EXPECT_EQ(Json(plain.inner), golden["inner"]) << word;
    EXPECT_EQ(Json(plain.edge), golden["edge"]) << word;
    EXPECT_EQ(Json(plain.trigrams), golden["count"]) << word;
    EXPECT_EQ(Dictionary({{word, 1}}, hasher, splitter).rejected(), 0U) << word;
  }
  EXPECT_EQ(lines, 513U);
}

}  // namespace
}  // namespace verbatim
