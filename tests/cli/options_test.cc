#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Values {
  std::vector<std::string> inputs;
  std::filesystem::path out;
  int64_t count = 7;
  int64_t limit = 0;
  double temperature = 0.8;
  double budget = 0;
  std::string kind = "text";
  std::vector<std::string> suites = {"likelihood"};
  std::optional<int64_t> seed;
  bool force = false;
  bool cache = true;
  int64_t verbosity = 0;
  std::vector<std::string> settings;
};

class Options : public ::testing::Test {
 protected:
  Options() {
    set_.positional("INPUT", values_.inputs, {.help = "files"});
    set_.option("-o,--out", values_.out, {.help = "folder", .completes = Completes::kFolder});
    set_.option("-n,--count", values_.count, {.help = "how many", .minimum = 1, .maximum = 100});
    set_.option("--limit", values_.limit, {.help = "stop after", .unit = "bytes", .minimum = 0});
    set_.option("--temp", values_.temperature, {.help = "temperature", .minimum = 0});
    set_.option("--budget", values_.budget, {.help = "time", .unit = "seconds"});
    set_.option("--kind", values_.kind, {.help = "kind", .choices = {"text", "jsonl"}});
    set_.option("--suite", values_.suites, {.help = "suites"});
    set_.option("-s,--seed", values_.seed, {.help = "seed"});
    set_.flag("--force", values_.force, {.help = "replace"});
    set_.flag("--cache,--no-cache", values_.cache, {.help = "keep"});
    set_.counter("-v,--verbose", values_.verbosity, {.help = "more"});
    set_.overrides(values_.settings);
  }

  std::string error(const std::vector<std::string>& arguments) {
    try {
      set_.parse(arguments);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }

  Values values_;
  OptionSet set_;
};

TEST_F(Options, leave_defaults_when_nothing_is_given) {
  set_.parse({});
  EXPECT_EQ(values_.count, 7);
  EXPECT_EQ(values_.temperature, 0.8);
  EXPECT_THAT(values_.suites, ElementsAre("likelihood"));
  EXPECT_FALSE(values_.seed.has_value());
  EXPECT_TRUE(values_.cache);
}

TEST_F(Options, take_values_in_all_usual_spellings) {
  set_.parse(
      {"a", "-o", "x", "b", "-n5", "--temp=0.25", "--seed", "-1", "--force", "-vv", "--no-cache", "--kind", "jsonl"});
  EXPECT_THAT(values_.inputs, ElementsAre("a", "b"));
  EXPECT_EQ(values_.out, "x");
  EXPECT_EQ(values_.count, 5);
  EXPECT_EQ(values_.temperature, 0.25);
  EXPECT_EQ(values_.seed, -1);
  EXPECT_TRUE(values_.force);
  EXPECT_FALSE(values_.cache);
  EXPECT_EQ(values_.verbosity, 2);
  EXPECT_EQ(values_.kind, "jsonl");
}

TEST_F(Options, keep_the_last_of_several_and_all_of_a_list) {
  set_.parse({"--count", "1", "--suite", "a b", "--count=2", "--suite", "c,d"});
  EXPECT_EQ(values_.count, 2);
  EXPECT_THAT(values_.suites, ElementsAre("a b", "c,d"));
}

TEST_F(Options, take_a_single_dash_and_words_after_two_dashes_as_they_are) {
  set_.parse({"-", "--force", "--", "--count", "-x", "optim.lr=1"});
  EXPECT_THAT(values_.inputs, ElementsAre("-", "--count", "-x", "optim.lr=1"));
  EXPECT_TRUE(values_.force);
  EXPECT_THAT(values_.settings, IsEmpty());
}

TEST_F(Options, take_any_bytes_as_a_value) {
  set_.parse({"--out", "\xff \n--x", "--suite", ""});
  EXPECT_EQ(values_.out.string(), "\xff \n--x");
  EXPECT_THAT(values_.suites, ElementsAre(""));
}

TEST_F(Options, read_sizes_and_times_with_suffixes) {
  for (const auto& [text, bytes] : std::vector<std::pair<std::string, int64_t>>{{"0", 0},
                                                                                {"12", 12},
                                                                                {"64k", 64000},
                                                                                {"64Ki", 65536},
                                                                                {"1.5M", 1500000},
                                                                                {"2Gi", 2147483648},
                                                                                {"9223372036854775807", INT64_MAX}}) {
    set_.parse({"--limit", text});
    EXPECT_EQ(values_.limit, bytes) << text;
  }
  set_.parse({"--budget", "10m"});
  EXPECT_EQ(values_.budget, 600);
  set_.parse({"--budget=1.5h"});
  EXPECT_EQ(values_.budget, 5400);
}

TEST_F(Options, collect_settings_in_their_order) {
  set_.parse({"--optim.lr=3e-4", "run.toml", "optim.lr=1", "--data.batch_bytes", "65536", "--model.name", "-x=y"});
  EXPECT_THAT(values_.settings,
              ElementsAre("optim.lr=3e-4", "optim.lr=1", "data.batch_bytes=65536", "model.name=-x=y"));
  EXPECT_THAT(values_.inputs, ElementsAre("run.toml"));
}

TEST_F(Options, refuse_wrong_values_with_what_is_expected) {
  EXPECT_EQ(error({"--count", "many"}), "--count must be an integer, got \"many\"");
  EXPECT_EQ(error({"--count", "2.5"}), "--count must be an integer, got \"2.5\"");
  EXPECT_EQ(error({"--count", ""}), "--count must be an integer, got \"\"");
  EXPECT_EQ(error({"--count", "5k"}), "--count must be an integer, got \"5k\"");
  EXPECT_EQ(error({"--count", "0"}), "--count must be between 1 and 100, got \"0\"");
  EXPECT_EQ(error({"--limit", "-1"}), "--limit must be at least 0 (bytes), got \"-1\"");
  EXPECT_EQ(error({"--limit", "99999999999T"}), "--limit must be an integer of 64 bits (bytes), got \"99999999999T\"");
  EXPECT_EQ(error({"--temp", "nan"}), "--temp must be a number, got \"nan\"");
  EXPECT_EQ(error({"--temp", "1e999"}), "--temp must be a number, got \"1e999\"");
  EXPECT_EQ(error({"--kind", "josnl"}), "--kind must be one of text, jsonl, got \"josnl\"; did you mean 'jsonl'?");
}

TEST_F(Options, name_the_nearest_flag) {
  EXPECT_EQ(error({"--cuont", "3"}), "unknown flag --cuont; did you mean --count?");
  EXPECT_EQ(error({"--cuont=3"}), "unknown flag --cuont; did you mean --count?");
  EXPECT_EQ(error({"--output", "x"}), "unknown flag --output; did you mean --out?");
  EXPECT_EQ(error({"--nothing-like-it"}), "unknown flag --nothing-like-it");
  EXPECT_EQ(error({"-z"}), "unknown flag -z");
  EXPECT_EQ(error({"-z.q=1"}), "unknown flag -z.q");
}

TEST_F(Options, say_which_value_is_missing) {
  EXPECT_EQ(error({"--out"}), "--out needs a value: --out DIR");
  EXPECT_EQ(error({"-n"}), "--count needs a value: --count N");
  EXPECT_THAT(error({"--optim.lr"}), HasSubstr("--optim.lr needs a value"));
}

TEST(OptionSet, asks_for_what_is_required) {
  std::filesystem::path config, out;
  OptionSet set;
  set.positional("CONFIG", config, {.help = "settings file", .required = true});
  set.option("--out", out, {.help = "run folder", .completes = Completes::kFolder, .required = true});
  const auto error = [&](const std::vector<std::string>& arguments) -> std::string {
    try {
      set.parse(arguments);
    } catch (const UsageError& usage) {
      return usage.what();
    }
    return "no error";
  };
  EXPECT_EQ(error({}), "CONFIG is missing: settings file");
  EXPECT_EQ(error({"a"}), "--out DIR is missing: run folder");
  EXPECT_EQ(error({"a", "--out", "b", "c"}), "one word too many: \"c\"");
  EXPECT_EQ(error({"a", "x.y=1", "--out", "b"}), "one word too many: \"x.y=1\"");
  EXPECT_EQ(error({"a", "--out", "b"}), "no error");
}

}  // namespace
}  // namespace verbatim
