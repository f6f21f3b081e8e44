#include "formats/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/scratch_folder.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using ::testing::ThrowsMessage;

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::istringstream text(ScratchFolder::read(path));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(json_lines, writes_one_flat_object_per_line_in_the_given_order) {
  const ScratchFolder folder;
  JsonLinesWriter writer(folder / "metrics.jsonl");
  writer.write({{"global_step", 10}, {"loss/train", 2.5}, {"phase", "warm\"up"}, {"best", true}, {"eval", nullptr}});
  writer.write({{"global_step", int64_t{1} << 60}, {"a", -3}});
  EXPECT_EQ(ScratchFolder::read(folder / "metrics.jsonl"),
            "{\"global_step\": 10, \"loss/train\": 2.5, \"phase\": \"warm\\\"up\", \"best\": true, \"eval\": null}\n"
            "{\"global_step\": 1152921504606846976, \"a\": -3}\n");
}

TEST(json_lines, writes_null_for_numbers_that_are_not_finite) {
  const ScratchFolder folder;
  JsonLinesWriter writer(folder / "a");
  const double infinity = std::numeric_limits<double>::infinity();
  writer.write({{"a", infinity}, {"b", -infinity}, {"c", std::nan("")}});
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "{\"a\": null, \"b\": null, \"c\": null}\n");
}

TEST(json_lines, writes_doubles_so_that_the_same_double_is_read) {
  const ScratchFolder folder;
  JsonLinesWriter writer(folder / "a");
  Random random(3);
  std::vector<double> numbers = {0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, 1e20, -123456789.0, 1.7976931348623157e308};
  for (int i = 0; i < 500; ++i)
    numbers.push_back(random.normal() * std::pow(10.0, static_cast<double>(random.below(40)) - 20));
  for (const double number : numbers) writer.write({{"x", number}});
  const std::vector<nlohmann::json> lines = lines_of(folder / "a");
  ASSERT_EQ(lines.size(), numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_TRUE(lines[i]["x"].is_number_float()) << numbers[i];
    EXPECT_EQ(lines[i]["x"].get<double>(), numbers[i]);
  }
}

TEST(json_lines, keeps_lines_whole_and_valid_for_any_string) {
  const ScratchFolder folder;
  JsonLinesWriter writer(folder / "a");
  writer.write({{"text", std::string("line\nbreak\0zero", 15)}});
  writer.write({{"text", "broken \xff\xe2\x82 \xe2\x82\xac"}, {"\xc0", 1}});
  writer.write({});
  const std::vector<nlohmann::json> lines = lines_of(folder / "a");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["text"], std::string("line\nbreak\0zero", 15));
  EXPECT_EQ(lines[1]["text"], "broken \xef\xbf\xbd\xef\xbf\xbd \xe2\x82\xac");
  EXPECT_EQ(lines[1]["\xef\xbf\xbd"], 1);
  EXPECT_TRUE(lines[2].empty());
}

TEST(json_lines, shows_every_line_at_once_to_others) {
  const ScratchFolder folder;
  JsonLinesWriter writer(folder / "a");
  for (int i = 1; i <= 3; ++i) {
    writer.write({{"global_step", i}});
    EXPECT_EQ(lines_of(folder / "a").size(), static_cast<size_t>(i));
  }
  EXPECT_NO_THROW(writer.sync());
}

TEST(json_lines, goes_on_behind_the_last_whole_line) {
  const ScratchFolder folder;
  const std::string first = "{\"global_step\": 1}\n";
  const std::string added = "{\"global_step\": 2}\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {first, first},
      {first + "{\"global_st", first},
      {first + "{\"global_step\": 2}", first},  // whole but for its end: written again after the resume
      {"{\"half", ""},
      {first + std::string(10'000, 'x'), first},  // longer than a block of the search
      {std::string(10'000, 'x'), ""},
      {first + std::string(100, '\0'), first},  // what some file systems leave after a power failure
      {std::string(4095, ' ') + "\n" + std::string(4096, 'x'), std::string(4095, ' ') + "\n"},
  };
  for (const auto& [before, kept] : cases) {
    const auto path = folder.write("a", before);
    JsonLinesWriter(path).write({{"global_step", 2}});
    EXPECT_EQ(ScratchFolder::read(path), kept + added);
  }
}

TEST(json_lines, refuses_what_it_cannot_open) {
  const ScratchFolder folder;
  EXPECT_THROW(JsonLinesWriter(folder / "absent" / "a"), std::system_error);
  EXPECT_THROW(JsonLinesWriter(folder.path()), std::system_error);
}

TEST(json_lines, takes_back_the_part_of_a_line_when_the_disk_is_full) {
  const ScratchFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    JsonLinesWriter writer(folder / "a");
    writer.write({{"global_step", 1}});
    const rlimit limit = {.rlim_cur = 30, .rlim_max = 30};  // a limit on file sizes stands for a full disk
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      writer.write({{"global_step", 2}});
      ::_exit(1);
    } catch (const std::system_error&) {
      ::_exit(0);
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "{\"global_step\": 1}\n");
}

TEST(truncate_after_step, removes_later_lines_and_keeps_the_others_byte_by_byte) {
  const ScratchFolder folder;
  const std::string kept = "{\"global_step\": 1,   \"x\": 1e0}\n{\"note\": \"no step\"}\n{\"global_step\": 2.0}\n";
  const auto path =
      folder.write("a", kept + "{\"global_step\": 3}\n{\"y\": {\"global_step\": 9}, \"global_step\": 4}\n");
  EXPECT_EQ(truncate_after_step(path, 2), 2u);
  EXPECT_EQ(ScratchFolder::read(path), kept);
  EXPECT_EQ(truncate_after_step(path, 2), 0u);
  EXPECT_EQ(ScratchFolder::read(path), kept);
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(truncate_after_step, removes_a_line_that_a_crash_cut) {
  const ScratchFolder folder;
  const auto path = folder.write("a", "{\"global_step\": 1}\n{\"glob");
  EXPECT_EQ(truncate_after_step(path, 100), 1u);
  EXPECT_EQ(ScratchFolder::read(path), "{\"global_step\": 1}\n");
}

TEST(truncate_after_step, accepts_missing_and_empty_files) {
  const ScratchFolder folder;
  EXPECT_EQ(truncate_after_step(folder / "absent", 1), 0u);
  EXPECT_FALSE(std::filesystem::exists(folder / "absent"));
  EXPECT_EQ(truncate_after_step(folder.write("a", ""), 1), 0u);
}

TEST(truncate_after_step, refuses_other_lines_with_their_number_and_changes_nothing) {
  const ScratchFolder folder;
  for (const std::string bad : {"[1]", "x", "", "{\"global_step\": }", "3"}) {
    const std::string text = "{\"global_step\": 1}\n" + bad + "\n{\"global_step\": 9}\n";
    const auto path = folder.write("a", text);
    EXPECT_THAT([&] { truncate_after_step(path, 5); },
                ThrowsMessage<InputError>(HasSubstr("a:2: expected a JSON object")));
    EXPECT_EQ(ScratchFolder::read(path), text);
  }
}

}  // namespace
}  // namespace verbatim
