#include "words/word_splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "text/utf8.h"
#include "words/marker_words.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree";
const std::filesystem::path kFacts = std::filesystem::path(VERBATIM_TEST_DATA) / "words";

std::vector<Json> json_lines(const std::filesystem::path& file) {
  std::vector<Json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

std::vector<std::string> split(const WordSplitter& splitter, std::string_view text) {
  Words words;
  splitter.split(text, words);
  std::vector<std::string> texts;
  for (const Word& word : words.list) texts.emplace_back(word.text);
  return texts;
}

std::vector<std::string> split(std::string_view text) { return split(WordSplitter(), text); }

std::string join(const WordSplitter& splitter, std::string_view text) {
  Words words;
  splitter.split(text, words);
  std::vector<std::string_view> views;
  for (const Word& word : words.list) views.push_back(word.text);
  return splitter.join(views);
}

// The first promise of split() that is broken, "" when all hold.
std::string broken_promise(const WordSplitter& splitter, std::string_view text, Words& words) {
  words.clear();
  splitter.split(text, words);
  std::string_view previous;
  std::string bytes;
  size_t begin = 0;
  for (const Word& word : words.list) {
    if (word.text.empty()) return "an empty word";
    if (word.end < begin || word.end > text.size()) return "an end out of order";
    bytes.clear();
    splitter.append_bytes(previous, word.text, bytes);
    if (bytes != text.substr(begin, word.end - begin))
      return "bytes that differ at the word '" + std::string(word.text) + "'";
    previous = word.text;
    begin = word.end;
  }
  return begin == text.size() ? "" : "the end of the text is missing";
}

void expect_golden(const std::filesystem::path& folder) {
  const WordSplitter splitter(SplitOptions::strict());
  SplitOptions lower = SplitOptions::strict();
  lower.lowercase = true;
  const WordSplitter lower_splitter(lower);
  const std::vector<Json> words = json_lines(folder / "words.jsonl");
  ASSERT_FALSE(words.empty());
  for (const Json& line : words) {
    ASSERT_EQ(Json(split(splitter, line["text"].get<std::string>())), line["words"]) << line["text"];
  }
  const std::vector<Json> more = json_lines(folder / "words_more_configs.jsonl");
  ASSERT_FALSE(more.empty());
  for (const Json& line : more) {
    const WordSplitter& used = line["config"] == "e" ? lower_splitter : splitter;
    ASSERT_EQ(Json(split(used, line["text"].get<std::string>())), line["words"]) << line["text"];
  }
  const std::vector<Json> texts = json_lines(folder / "texts.jsonl");
  ASSERT_FALSE(texts.empty());
  for (const Json& line : texts) {
    const auto text = line["text"].get<std::string>();
    ASSERT_EQ(Json(split(splitter, text)), line["words"]) << text;
    ASSERT_EQ(Json(join(splitter, text)), line["reconstructed"]) << text;
  }
}

TEST(word_splitter, splits_and_joins_every_golden_text_like_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "needs the golden files of T-Free";
  expect_golden(kGolden);
}

TEST(word_splitter, splits_and_joins_an_extract_of_the_golden_texts_like_the_reference) { expect_golden(kFacts); }

TEST(word_splitter, improved_rules_keep_every_golden_text) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "needs the golden files of T-Free";
  const WordSplitter splitter;
  Words words;
  for (const Json& line : json_lines(kGolden / "texts.jsonl")) {
    const auto text = line["text"].get<std::string>();
    EXPECT_EQ(broken_promise(splitter, text, words), "") << text;
  }
}

TEST(character_kinds, join_exactly_the_characters_of_the_golden_classes) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "needs the golden files of T-Free";
  std::vector<bool> joins(0x110000);
  const Json classes = Json::parse(std::ifstream(kGolden / "charclass.json"));
  for (const Json& range : classes["word"]) {
    for (size_t value = range[0]; value <= range[1].get<size_t>(); ++value) joins[value] = true;
  }
  using enum CharacterKind;
  size_t differences = 0;
  for (char32_t value = 0; value < 0x110000; ++value) {
    const CharacterKind kind = CharacterKinds::get().kind(value);
    const bool ours = kind == kLetter || kind == kHan || kind == kHiragana || kind == kEastLetter ||
                      kind == kProlonged || kind == kBlanklessLetter || kind == kLeadingVowel ||
                      kind == kTrailingVowel || kind == kSyllable;
    if (ours != joins[value]) ++differences;
  }
  EXPECT_EQ(differences, 0u);
}

std::string random_text(Random& random) {
  static const std::vector<std::string> kParts = {
      " ",
      " ",
      "  ",
      "\n",
      "\t",
      "\r\n",
      "a",
      "Bc",
      "don't",
      "7",
      "42",
      "<|",
      "|>",
      "<",
      "|",
      ">",
      "<|ws|>",
      "<|no_ws|>",
      "<|\n|>",
      "<|LF|>",
      "<|2<-ws->|>",
      "<|4<-\n->|>",
      "<|12<-ws->|>",
      "<|endoftext|>",
      "<|>",
      "<||>",
      "ws",
      "-",
      "(",
      ")",
      "#",
      ".",
      "_",
      "é",
      "e\u0301",
      "\u0301",
      "\u200D",
      "\u200C",
      "\uFE0F",
      "ß",
      "Я",
      "हिन्दी",
      "क्ष",
      "中文",
      "中",
      "の",
      "です",
      "カタ",
      "ー",
      "。",
      "、",
      "「",
      "」",
      "ไทย",
      "เที่",
      "ๆ",
      "ລາວ",
      "ខ្មែរ",
      "မြန်မာ",
      "་",
      "བོད",
      "한국",
      "“",
      "”",
      "’",
      "—",
      "…",
      "\u3000",
      "\u00A0",
      "\u200B",
      "👩\u200D💻",
      "🏳️\u200D🌈",
      "👍🏽",
      "²",
      "½",
      "٣",
      "ｆ",
      "Ａ",
      "\u0308\u0308",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  std::string text;
  for (uint64_t n = random.below(12); n > 0; --n) {
    if (random.below(5) == 0) {
      text += static_cast<char>(random.below(256));
    } else {
      text += kParts[random.below(kParts.size())];
    }
    if (random.below(16) == 0) text.pop_back();  // cuts a character
  }
  return text;
}

TEST(word_splitter, keeps_every_byte_string_under_the_improved_rules) {
  std::vector<WordSplitter> splitters;
  splitters.emplace_back();
  for (int i = 0; i < 5; ++i) {
    SplitOptions options;
    if (i == 0) options.keep_marks = false;
    if (i == 1) options.cut_blankless = false;
    if (i == 2) options.wide_sets = false;
    if (i == 3) options.longest_word = 5;
    if (i == 4) options.special_words = {"<|endoftext|>", "<|eot", "中文", " ", "\u0301a", "Bc"};
    splitters.emplace_back(options);
  }
  Random random(1);
  Words words;
  for (int i = 0; i < 240000; ++i) {
    const std::string text = random_text(random);
    const WordSplitter& splitter = splitters[static_cast<size_t>(i) % splitters.size()];
    ASSERT_TRUE(splitter.lossless());
    ASSERT_EQ(broken_promise(splitter, text, words), "") << testing::PrintToString(text);
    if (splitter.options().special_words.empty()) {
      for (const Word& word : words.list) {
        if (!has_marker_form(word.text)) continue;
        ASSERT_NE(std::find(kMarkerWords.begin(), kMarkerWords.end(), word.text), kMarkerWords.end()) << word.text;
      }
    }
  }
}

// Section 1.5: only literal markers are lost.
TEST(word_splitter, keeps_text_without_markers_under_the_strict_rules) {
  const WordSplitter splitter(SplitOptions::strict());
  EXPECT_FALSE(splitter.lossless());
  Random random(2);
  Words words;
  for (int i = 0; i < 50000; ++i) {
    std::string text = random_text(random);
    if (text.find("<|") != std::string::npos) continue;
    ASSERT_EQ(broken_promise(splitter, text, words), "") << testing::PrintToString(text);
  }
}

TEST(word_splitter, keeps_marks_with_their_characters) {
  EXPECT_THAT(split("हिन्दी में"), ElementsAre("हिन्दी", "में"));
  EXPECT_THAT(split("e\u0301te\u0301 x"), ElementsAre("e\u0301te\u0301", "x"));
  EXPECT_THAT(split("می\u200Cخواهم"), ElementsAre("می\u200Cخواهم"));
  EXPECT_THAT(split("x 1\uFE0F\u20E3"), ElementsAre("x", kBlankWord, "1\uFE0F\u20E3"));
  EXPECT_THAT(split("👩\u200D💻👍🏽"), ElementsAre("👩\u200D💻", kNoBlankWord, "👍🏽"));
}

TEST(word_splitter, cuts_scripts_without_blanks_into_short_words) {
  EXPECT_THAT(
      split("在2024年，用Python写的（中文）。"),
      ElementsAre("在", "2", "0", "2", "4", "年", "，", "用", "Python", "写", "的", "（", "中", "文", "）", "。"));
  EXPECT_THAT(split("私はラーメンを食べました"), ElementsAre("私", "は", "ラーメン", "を", "食", "べま", "した"));
  EXPECT_THAT(split("ประเทศไทย"), ElementsAre("ป", "ระ", "เท", "ศ", "ไท", "ย"));
  EXPECT_THAT(split("မြန်မာ"), ElementsAre("မြန်", "မာ"));
  EXPECT_THAT(split("ខ្មែរ"), ElementsAre("ខ្មែ", "រ"));
  EXPECT_THAT(split("བོད་ཡིག"), ElementsAre("བོད", "་", "ཡིག"));
  EXPECT_THAT(split("ไทย ไทย x"), ElementsAre("ไท", "ย", kBlankWord, "ไท", "ย", "x"));
  EXPECT_THAT(split("한국어 텍스트"), ElementsAre("한국어", "텍스트"));
}

TEST(word_splitter, puts_no_marker_beside_the_relatives_of_ascii_punctuation) {
  EXPECT_THAT(split("don’t “go” now…"), ElementsAre("don", "’", "t", "“", "go", "”", "now", "…"));
  EXPECT_THAT(split("a\tb\r\nc"), ElementsAre("a", "\t", "b", "\r", kLineFeedWord, "c"));
}

TEST(word_splitter, splits_text_that_looks_like_a_marker) {
  EXPECT_THAT(split("<|ws|>"), ElementsAre("<", "|", kNoBlankWord, "ws", kNoBlankWord, "|", ">"));
  SplitOptions options;
  options.special_words = {"<|endoftext|>"};
  EXPECT_THAT(split(WordSplitter(options), "a <|endoftext|>b"), ElementsAre("a", kBlankWord, "<|endoftext|>", "b"));
}

TEST(word_splitter, cuts_long_words_before_a_character_with_its_marks) {
  SplitOptions options;
  options.longest_word = 4;
  EXPECT_THAT(split(WordSplitter(options), "abcdefghi"), ElementsAre("abcd", kNoBlankWord, "efgh", kNoBlankWord, "i"));
  EXPECT_THAT(split(WordSplitter(options), "abce\u0301"), ElementsAre("abc", kNoBlankWord, "e\u0301"));
  EXPECT_THAT(split(WordSplitter(options), "é\u0301\u0301"), ElementsAre("é\u0301", kNoBlankWord, "\u0301"));
}

// A reader gets offsets in the text as it was, also where a letter changes its length.
TEST(word_splitter, counts_ends_in_the_text_before_it_was_lowered) {
  SplitOptions options;
  options.lowercase = true;
  Words words;
  const std::string text = "Ⱥ İX b";  // 2 -> 3 bytes, 2 -> 3 bytes
  WordSplitter(options).split(text, words);
  ASSERT_EQ(words.list.size(), 3u);
  EXPECT_EQ(words.list[0].text, "ⱥ");
  EXPECT_EQ(words.list[0].end, 2u);
  EXPECT_EQ(words.list[1].text, "i\u0307x");
  EXPECT_EQ(words.list[1].end, 6u);
  EXPECT_EQ(words.list[2].end, text.size());
}

TEST(word_splitter, appends_words_and_ends_begin_at_zero) {
  Words words;
  WordSplitter().split("a", words);
  WordSplitter().split("", words);
  WordSplitter().split("b c", words);
  ASSERT_EQ(words.list.size(), 3u);
  EXPECT_EQ(words.list[1].end, 1u);
  EXPECT_EQ(words.list[2].end, 3u);
  EXPECT_EQ(WordSplitter().join({}), "");
}

TEST(word_splitter, reads_markers_of_any_count) {
  const WordSplitter splitter;
  EXPECT_EQ(splitter.join({"a", "<|8<-ws->|>", "b", "<|12<-\n->|>", "<|0<-ws->|>"}),
            "a" + std::string(8, ' ') + "b" + std::string(12, '\n'));
  EXPECT_EQ(splitter.join({"<|99999999999999999999<-ws->|>"}), "<|99999999999999999999<-ws->|>");
}

TEST(word_splitter, refuses_special_words_that_cannot_be_told_apart) {
  for (const char* word : {"", "<|ws|>", "<|no_ws|>", "<|\n|>", "<|2<-ws->|>", "<|7<-\n->|>", "\xFF"}) {
    SplitOptions options;
    options.special_words = {word};
    EXPECT_THROW(WordSplitter{options}, InputError) << word;
  }
  SplitOptions strict = SplitOptions::strict();
  strict.special_words = {"<|x|>"};
  EXPECT_THROW(WordSplitter{strict}, InputError);
}

// Four megabytes of each kind, as one line where the kind has no line end: work that grew with the square of the length
// (10^13 steps) would not end before the time limit of the test. How long it takes is measured in bench/words_bench.cc.
TEST(word_splitter, ends_on_long_texts_of_every_kind) {
  for (const bool strict : {false, true}) {
    const WordSplitter splitter(strict ? SplitOptions::strict() : SplitOptions{});
    for (const std::string part : {"a", "<|", "<|\n", "e\u0301", "中", "a b, c\n", "\u0301"}) {
      std::string text;
      while (text.size() < 4'000'000) text += part;
      Words words;
      splitter.split(text, words);
      ASSERT_FALSE(words.list.empty()) << part;
      EXPECT_EQ(words.list.back().end, text.size()) << part;
    }
  }
}

}  // namespace
}  // namespace verbatim
