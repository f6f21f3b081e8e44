// Settings files are typed by hand and come from other people: every mistake is a message with its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/error.h"
#include "settings/example_settings.h"
#include "settings/settings_tree.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Case {
  std::string what;
  std::string text;
  std::string place;  // how the message begins
};

std::string repeat(std::string_view unit, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += unit;
  return text;
}

template <class Read>
void expect_errors(const std::vector<Case>& cases, Read read) {
  for (const Case& item : cases) {
    const std::string message = input_error([&] {
      ExampleSettings settings;
      read(item.text).apply_to(settings);
    });
    EXPECT_THAT(message, StartsWith(item.place)) << item.what;
    EXPECT_LT(message.size(), 600) << item.what;
  }
}

TEST(malformed_settings, toml_is_refused_with_its_place) {
  expect_errors(
      {
          {"cut in a string", "name = \"ab", "f:1:"},
          {"cut in a table name", "seed = 1\n[opt", "f:2:"},
          {"cut in a list", "strides = [1, 2", "f:1:"},
          {"no value", "name =", "f:1:"},
          {"no key", "= 1", "f:1:"},
          {"word without quotes", "name = run", "f:1:"},
          {"integer beyond 64 bits", "seed = 9223372036854775808", "f:1:"},
          {"very long integer", "seed = " + std::string(100000, '9'), "f:1:"},
          {"number beyond double", "[optim]\nlr = 1e400", "f:2:"},
          {"key twice", "seed = 1\nseed = 2", "f:2:"},
          {"table twice", "[optim]\nlr = 1.0\n[optim]\nlr = 1.0", "f:3:"},
          {"value and table", "optim = 1\n[optim]\nlr = 1.0", "f:2:"},
          {"list of tables for a section", "[[optim]]\nlr = 1.0", "f:1:"},
          {"invalid UTF-8", "name = \"\xff\"", "f:1:"},
          {"cut UTF-8", "name = \"\xe4\xb8", "f:1:"},
          {"surrogate", "name = \"\xed\xa0\x80\"", "f:1:"},
          {"zero byte", std::string("na\0me = 1", 9), "f:1:"},
          {"control character", "name = \"a\x01\"", "f:1:"},
          {"deep lists", "strides = " + repeat("[", 100000), "f:1:"},
          {"closed deep lists", "strides = " + repeat("[", 200) + repeat("]", 200), "f:1:"},
          {"deep inline tables", "a = " + repeat("{a=", 100000), "f:1:"},
          {"deep dotted key", repeat("a.", 500000) + "a = 1", "f:1:"},
          {"deep dotted header", "\n[" + repeat("a.", 500000) + "a]", "f:2:"},
          {"deep quoted header", "\n[" + repeat("\"a\".", 100000) + "a]", "f:2:"},
          {"deep after a long string", "name = \"\"\"\n\"\n\"\"\"\n" + repeat("a.", 500000) + "a = 1", "f:4:"},
          {"bad escape", "name = \"\\q\"", "f:1:"},
          {"carriage return alone", "name = 1\rseed = 2", "f:1:"},
          {"another format", "{\"name\": 1}", "f:1:"},
          {"binary", std::string("\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00", 10), "f:1:"},
          {"far too long", std::string(size_t{5} << 20, '\n'), "f: "},
      },
      [](const std::string& text) { return SettingsTree::from_toml(text, "f"); });
}

TEST(malformed_settings, json_is_refused_with_its_place) {
  expect_errors(
      {
          {"empty", "", "f:1:1: not valid JSON"},
          {"cut in a string", "{\"name\": \"a", "f:1:"},
          {"cut after a name", "{\"name\":", "f:1:"},
          {"comma too many", "{\n\"seed\": 1,\n}", "f:3:1: not valid JSON"},
          {"text after the end", "{} x", "f:1:4: not valid JSON"},
          {"a list", "[1]", "f:1:1: expected an object"},
          {"a number", "3", "f:1:1: expected an object"},
          {"null", "{\"seed\": null}", "f:1:10: null"},
          {"name twice", "{\"seed\": 1,\n  \"seed\": 2}", "f:2:3: \"seed\" occurs twice"},
          {"name twice below", "{\"optim\": {\"lr\": 1, \"lr\": 2}}", "f:1:21: \"lr\" occurs twice"},
          {"integer beyond 64 bits", "{\"seed\": 9223372036854775808}", "f:1:10: 9223372036854775808 does not fit"},
          {"integer beyond 64 bits unsigned", "{\"seed\": 99999999999999999999999}", "f:1:10: 999"},
          {"number beyond double", "{\"optim\": {\"lr\": 1e400}}", "f:1:"},
          {"float for integer", "{\"seed\": 1.0}", "f:1:2: seed must be an integer"},
          {"invalid UTF-8", "{\"name\": \"\xff\"}", "f:1:"},
          {"lone surrogate", "{\"name\": \"\\ud800\"}", "f:1:"},
          {"zero byte", std::string("{\0}", 3), "f:1:2: not valid JSON"},
          {"deep lists", "{\"a\": " + repeat("[", 1000000), "f:1:"},
          {"deep objects", repeat("{\"a\":", 500000), "f:1:"},
          {"place after nesting", "{\"optim\": {\"betas\": [0.5,\n 0.5]},\n  \"strides\": [1,\n   \"x\"]}",
           "f:4:4: strides[1] must be an integer"},
          {"unknown", "{\"seed\": 1,\n \"sed\": 2}", "f:2:2: unknown setting sed; did you mean seed?"},
      },
      [](const std::string& text) { return SettingsTree::from_json(text, "f"); });
}

TEST(malformed_settings, every_beginning_of_a_good_file_is_read_or_refused_with_a_place) {
  ExampleSettings settings;
  const std::string toml = to_toml(settings, true), json = to_json(settings);
  const std::regex place("^f(:[0-9]+:[0-9]+)?: .*");
  for (size_t size = 0; size < toml.size(); ++size) {
    const std::string message = input_error([&] {
      ExampleSettings read;
      SettingsTree::from_toml(toml.substr(0, size), "f").apply_to(read);
    });
    EXPECT_TRUE(message == "no error" || std::regex_match(message, place)) << size << ": " << message;
  }
  for (size_t size = 0; size + 2 < json.size(); ++size) {
    const std::string message = input_error([&] { (void)SettingsTree::from_json(json.substr(0, size), "f"); });
    EXPECT_TRUE(std::regex_match(message, place)) << size << ": " << message;
  }
}

TEST(malformed_settings, a_missing_file_is_named) {
  EXPECT_THAT(input_error([] { (void)SettingsTree::from_toml_file("no/such/file.toml"); }),
              HasSubstr("no/such/file.toml"));
}

}  // namespace
}  // namespace verbatim
