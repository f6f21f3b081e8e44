#include "tokenizers/word_splitter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "tokenizers/regex.h"

namespace verbatim {
namespace {

constexpr WordPattern kPatterns[] = {WordPattern::kGpt2, WordPattern::kLlama3, WordPattern::kQwen2};

std::vector<std::string> split(WordPattern pattern, std::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(pattern, text, begin);
    words.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

// The same by PCRE2, which runs the regular expression as it is written.
std::vector<std::string> split_by_regex(const Regex& regex, std::string_view text) {
  std::vector<std::string> words;
  size_t covered = 0;
  for (const Regex::Match& match : regex.find_all(text)) {
    EXPECT_EQ(match.begin, covered);
    words.emplace_back(text.substr(match.begin, match.end - match.begin));
    covered = match.end;
  }
  EXPECT_EQ(covered, text.size());
  return words;
}

using Words = std::vector<std::string>;

TEST(word_splitter, splits_as_the_expressions_say) {
  EXPECT_EQ(split(WordPattern::kGpt2, "Hello world's  12345  end\n\n x"),
            (Words{"Hello", " world", "'s", " ", " 12345", " ", " end", "\n\n", " x"}));
  EXPECT_EQ(split(WordPattern::kLlama3, "Hello world'S  12345  end!\n\n x"),
            (Words{"Hello", " world", "'S", " ", " ", "123", "45", " ", " end", "!\n\n", " x"}));
  EXPECT_EQ(split(WordPattern::kQwen2, "x=12;\r\n\t y"), (Words{"x", "=", "1", "2", ";\r\n", "\t", " y"}));
  EXPECT_EQ(split(WordPattern::kLlama3, " \n \n  a"), (Words{" \n \n", " ", " a"}));
  EXPECT_EQ(split(WordPattern::kLlama3, "'ll'\xC5\xBFx"), (Words{"'ll", "'\xC5\xBF", "x"}));
  EXPECT_EQ(split(WordPattern::kGpt2, "it'"), (Words{"it", "'"}));
  EXPECT_EQ(split(WordPattern::kGpt2, "a   "), (Words{"a", "   "}));
}

TEST(word_splitter, treats_invalid_bytes_as_one_other_character_each) {
  EXPECT_EQ(split(WordPattern::kGpt2,
                  "a\xFF\xFE"
                  "b \xC3 c"),
            (Words{"a", "\xFF\xFE", "b", " \xC3", " c"}));
  EXPECT_EQ(split(WordPattern::kLlama3,
                  "a\xFF\xFE"
                  "b"),
            (Words{"a", "\xFF\xFE", "b"}));
  EXPECT_EQ(split(WordPattern::kLlama3,
                  "1\xFF"
                  "b"),
            (Words{"1",
                   "\xFF"
                   "b"}));
}

TEST(word_splitter, agrees_with_pcre2_on_random_text) {
  const std::vector<std::string> parts = {"'",
                                          "'s",
                                          "'S",
                                          "'T",
                                          "'re",
                                          "'VE",
                                          "'m",
                                          "'Ll",
                                          "'d",
                                          "'\xC5\xBF",
                                          "a",
                                          "Z",
                                          "\xC3\xA4",
                                          "\xE4\xB8\xAD",
                                          "1",
                                          "\xE0\xA5\xA7",
                                          "\xE2\x85\xA7",
                                          " ",
                                          "  ",
                                          "\n",
                                          "\r",
                                          "\t",
                                          "\xC2\xA0",
                                          "\xE3\x80\x80",
                                          "\xE2\x80\xA8",
                                          "\xC2\x85",
                                          "\xE1\xA0\x8E",
                                          ".",
                                          "!?",
                                          "_",
                                          "+",
                                          "\xF0\x9F\x98\x80",
                                          "\xCC\x81",
                                          "\xE2\x80\x8B",
                                          "\xFF",
                                          "\xE2\x96"};
  Random random(5);
  for (const WordPattern pattern : kPatterns) {
    const Regex regex(regex_of(pattern), "test");
    for (int round = 0; round < 4000; ++round) {
      std::string text;
      for (uint64_t n = 1 + random.below(14); n > 0; --n) text += parts[random.below(parts.size())];
      ASSERT_EQ(split(pattern, text), split_by_regex(regex, text)) << testing::PrintToString(text);
    }
  }
}

TEST(word_splitter, agrees_with_pcre2_on_every_character_both_know) {
  // Characters that one of the two Unicode versions does not have yet are left out.
  const Regex unassigned("\\p{Cn}", "test");
  const Regex letters("\\p{L}", "test");
  const Regex numbers("\\p{N}", "test");
  const Regex spaces("\\s", "test");
  int disagreements = 0;
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    const std::string text = encode_utf8(value);
    if (!unassigned.find_all(text).empty()) continue;
    const uint8_t classes = character_classes(value);
    const bool same = !letters.find_all(text).empty() == ((classes & kLetter) != 0) &&
                      !numbers.find_all(text).empty() == ((classes & kNumber) != 0) &&
                      !spaces.find_all(text).empty() == ((classes & kSpace) != 0);
    if (!same) ++disagreements;
  }
  EXPECT_EQ(disagreements, 0);
}

TEST(word_splitter, agrees_with_pcre2_on_the_declaration_of_human_rights_in_many_languages) {
  const std::filesystem::path folder = std::filesystem::path(VERBATIM_SHARED) / "data/corpora/udhr";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  for (const WordPattern pattern : kPatterns) {
    const Regex regex(regex_of(pattern), "test");
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string text = read_file(entry.path());
      ASSERT_TRUE(split(pattern, text) == split_by_regex(regex, text)) << entry.path();
    }
  }
}

TEST(word_splitter, is_found_by_the_exact_text_of_its_expression) {
  for (const WordPattern pattern : kPatterns) EXPECT_EQ(find_word_pattern(regex_of(pattern)), pattern);
  EXPECT_EQ(find_word_pattern("\\s+"), std::nullopt);
}

TEST(regex, reads_classes_as_oniguruma_does) {
  const auto first = [](const char* pattern, std::string_view text) {
    const auto matches = Regex(pattern, "test").find_all(text);
    return matches.empty() ? std::string("none")
                           : std::string(text.substr(matches[0].begin, matches[0].end - matches[0].begin));
  };
  EXPECT_EQ(first("\\s", "\xE1\xA0\x8E"), "none");  // U+180E is no white space
  EXPECT_EQ(first("\\S+", " ab "), "ab");
  EXPECT_EQ(first("[\\s,]+", "a , b"), " , ");
  EXPECT_EQ(first("\\w+", "-a\xCC\x81_1-"), "a\xCC\x81_1");
  EXPECT_EQ(first("\\h+", "xyzBEEF"), "BEEF");
  EXPECT_EQ(first("[[:punct:]]+", "ab!?c"), "!?");
  EXPECT_EQ(first("[^]a]+", "]ab"), "b");
  EXPECT_EQ(first("a(?=b)", "aab"), "a");
}

TEST(regex, refuses_what_it_cannot_run) {
  for (const char* pattern : {"(", "[a", "a{2,1}", "[a&&b]", "[a[bc]]", "\\p{Nonsense}", "(?<=a*)b"}) {
    EXPECT_THROW(Regex(pattern, "test"), InputError) << pattern;
  }
  // Exponential matching ends with an error, not never.
  EXPECT_THROW((void)Regex("(a+)+$", "test").find_all(std::string(40, 'a') + "b"), InputError);
}

}  // namespace
}  // namespace verbatim
