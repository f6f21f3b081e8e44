#include "cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/commands.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Target {
  std::vector<std::string> inputs;
  std::filesystem::path out;
  int64_t limit = 65536;
  std::string kind = "auto";
  bool slow = false;
  std::vector<std::string> settings;
};

CommandDefinition example_command(Target& target) {
  CommandDefinition command{
      .name = "example",
      .summary = "shows a help",
      .usage = "INPUT... --out DIR",
      .examples = {{"verbatim example notes/ --out data", "a folder"}, {"verbatim example - --out data", "a pipe"}},
      .notes = "Something to know."};
  command.options.positional("INPUT", target.inputs, {.help = "files", .required = true});
  command.options.option("-o,--out", target.out,
                         {.help = "folder to write", .completes = Completes::kFolder, .required = true});
  command.options.option("--limit", target.limit, {.help = "stop after", .unit = "bytes"});
  command.options.group("Input");
  command.options.option("--kind", target.kind, {.help = "kind of file", .choices = {"auto", "text"}});
  command.options.flag("--slow", target.slow, {.help = "take your time", .advanced = true});
  command.options.overrides(target.settings, [] { return std::string("  optim.lr  learning rate\n"); });
  return command;
}

TEST(help, shows_examples_first_then_options_with_units_and_defaults) {
  Target target;
  EXPECT_EQ(command_help(example_command(target), HelpExtent::kScreen),
            "verbatim example - shows a help\n"
            "\n"
            "Examples:\n"
            "  verbatim example notes/ --out data   a folder\n"
            "  verbatim example - --out data        a pipe\n"
            "\n"
            "Usage: verbatim example INPUT... --out DIR [OPTIONS]\n"
            "\n"
            "Arguments:\n"
            "  INPUT...  files\n"
            "\n"
            "Options:\n"
            "  -o, --out DIR  folder to write (required)\n"
            "      --limit N  stop after (bytes; default: 65536)\n"
            "\n"
            "Input:\n"
            "      --kind TEXT          kind of file (one of auto, text; default: auto)\n"
            "      --SECTION.KEY=VALUE  sets one setting, also as SECTION.KEY=VALUE\n"
            "\n"
            "verbatim example --help-all lists 1 more and all settings.\n");
}

TEST(help, lists_everything_when_asked) {
  Target target;
  const std::string text = command_help(example_command(target), HelpExtent::kAll);
  EXPECT_THAT(text, HasSubstr("--slow"));
  EXPECT_THAT(text, HasSubstr("Settings:\n  optim.lr  learning rate\n"));
  EXPECT_THAT(text, HasSubstr("Something to know."));
  EXPECT_THAT(text, Not(HasSubstr("--help-all lists")));
}

TEST(help, keeps_lines_within_a_wide_terminal) {
  Target target;
  CommandDefinition command = example_command(target);
  std::string words;
  for (int i = 0; i < 60; ++i) words += "words ";
  command.options.option("--a-very-long-name-of-an-option", target.limit, {.help = words});
  std::istringstream lines(command_help(command, HelpExtent::kAll));
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST(help, of_the_program_names_each_command_with_its_summary) {
  const std::string text = program_help();
  ASSERT_FALSE(commands().empty());
  for (const CommandRow& row : commands()) {
    EXPECT_THAT(text, HasSubstr("  " + std::string(row.name) + " "));
    EXPECT_THAT(text, HasSubstr(std::string(row.summary)));
  }
}

TEST(commands, in_the_program_have_complete_definitions) {
  for (const NamedMaker& maker : plain_definitions()) {
    CommonOptions common;
    const CommandDefinition command = complete_definition(maker.make, common);
    EXPECT_EQ(command.name, maker.name);
    EXPECT_FALSE(command.summary.empty()) << command.name;
    EXPECT_FALSE(command.examples.empty()) << command.name;
    EXPECT_TRUE(command.run) << command.name;
    for (const CommandExample& example : command.examples) {
      EXPECT_THAT(example.line, HasSubstr("verbatim " + command.name));
    }
  }
}

}  // namespace
}  // namespace verbatim
