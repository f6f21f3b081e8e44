#include "corpus/json_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;

TEST(json_line, reads_the_member_with_its_escapes) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {R"({"text": "plain"})", "plain"},
      {R"({"text":""})", ""},
      {R"( { "id" : 7 , "text" : "a\n\t\"b\"\\\/\b\f\r" } )", "a\n\t\"b\"\\/\b\f\r"},
      {R"({"text": "\u0041\u00e9\u4eBa\ud83d\uDE00\u0000"})",
       std::string("A\xC3\xA9\xE4\xBA\xBA\xF0\x9F\x98\x80\0", 11)},
      {R"({"other": {"text": "inner"}, "text": "outer"})", "outer"},
      {R"({"other": [{"text": "inner"}, [], {}, [1, -0.5e+3, true, false, null]], "text": "outer"})", "outer"},
      {R"({"text": "first", "text": "last"})", "last"},
      {R"({"t\u0065xt": "escaped name"})", "escaped name"},
      {"{\"text\": \"raw \xFF\xC3 bytes\"}", "raw \xFF\xC3 bytes"},
      {R"({"text": ")" + std::string(100000, 'x') + R"("})", std::string(100000, 'x')},
  };
  for (const auto& [line, expected] : table) {
    std::string text = "old";
    const auto error = read_json_member(line, "text", text);
    EXPECT_FALSE(error.has_value()) << line << ": " << error->message;
    EXPECT_EQ(text, expected);
  }
}

TEST(json_line, says_where_a_line_is_malformed) {
  struct Mistake {
    std::string line;
    size_t column;
    const char* message;
  };
  const std::vector<Mistake> table = {
      {"", 0, "JSON object"},
      {"[1]", 0, "JSON object"},
      {"\"text\"", 0, "JSON object"},
      {"{", 1, "member name"},
      {R"({"text": "a")", 12, "does not end"},
      {R"({"text": "a)", 11, "string does not end"},
      {R"({"text": "a\)", 11, "string does not end"},
      {R"({"text" "a"})", 8, "':'"},
      {R"({"text": "a",})", 13, "member name"},
      {R"({"text": "a" "b": 1})", 13, "','"},
      {R"({"text": "a"} x)", 14, "after the object"},
      {R"({"text": 5})", 9, "no string"},
      {R"({"text": null})", 9, "no string"},
      {R"({"body": "a"})", 0, "no member \"text\""},
      {R"({"text": "\x"})", 10, "escape"},
      {R"({"text": "\u12g4"})", 10, "hexadecimal"},
      {R"({"text": "\ud800"})", 10, "surrogate"},
      {R"({"text": "\udc00\ud800"})", 10, "surrogate"},
      {"{\"text\": \"a\nb\"}", 11, "control character"},
      {R"({"n": 01, "text": "a"})", 7, "','"},
      {R"({"n": .5, "text": "a"})", 6, "value"},
      {R"({"n": 1., "text": "a"})", 8, "digits"},
      {R"({"n": 1e, "text": "a"})", 8, "digits"},
      {R"({"n": nul, "text": "a"})", 6, "value"},
      {R"({"n": [1, 2, "text": "a"})", 19, "','"},
      {"{\"n\": " + std::string(100000, '[') + "}", 6 + 256, "deep"},
  };
  for (const Mistake& mistake : table) {
    std::string text;
    const auto error = read_json_member(mistake.line, "text", text);
    ASSERT_TRUE(error.has_value()) << mistake.line;
    EXPECT_EQ(error->column, mistake.column) << mistake.line.substr(0, 100) << ": " << error->message;
    EXPECT_THAT(error->message, HasSubstr(mistake.message)) << mistake.line;
  }
}

TEST(json_line, agrees_with_another_parser_on_damaged_lines) {
  const std::string seed_line = R"({"a": [1, 2.5e-3, {"b": "\u00e9\ud83d\ude00"}, null], )"
                                R"("text": "x\ty \"z\" \\", "c": {"d": [], "e": -0}, "f": true})";
  const std::string alphabet = "{}[]\",:\\u0d8e1.-+ntrf \n\t";
  Random random(11);
  int accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string line = seed_line;
    for (uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      const size_t place = random.below(line.size());
      switch (random.below(3)) {
        case 0:
          line[place] = alphabet[random.below(alphabet.size())];
          break;
        case 1:
          line.erase(place, 1 + random.below(4));
          break;
        default:
          line.insert(place, 1, alphabet[random.below(alphabet.size())]);
      }
      if (line.empty()) line.push_back('{');
    }
    const auto other = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool expected = other.is_object() && other.contains("text") && other["text"].is_string();
    std::string text;
    const auto error = read_json_member(line, "text", text);
    if (expected && error) {
      // The other parser sees the last member of a name only.
      ASSERT_THAT(error->message, HasSubstr("no string")) << line;
      continue;
    }
    ASSERT_EQ(!error.has_value(), expected) << line << (error ? error->message : "");
    if (expected) {
      ASSERT_EQ(text, other["text"].get<std::string>()) << line;
    }
    accepted += expected;
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace verbatim
