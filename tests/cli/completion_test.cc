#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/commands.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

struct Target {
  std::vector<std::string> inputs;
  std::filesystem::path out;
  std::string kind;
  bool force = false;
  std::vector<std::string> settings;
};

std::vector<CommandDefinition> example_commands(Target& target) {
  CommandDefinition command;
  command.name = "example";
  command.summary = "it's [an] example: one";
  command.options.positional("INPUT", target.inputs, {.help = "files", .completes = Completes::kFile});
  command.options.option("-o,--out", target.out, {.help = "folder's name", .completes = Completes::kFolder});
  command.options.option("--kind", target.kind, {.help = "kind", .choices = {"text", "toml", "jsonl"}});
  command.options.flag("--force", target.force, {.help = "replace"});
  command.options.overrides(target.settings, [] {
    return std::string("  optim.lr  rate\n  optim.clip  norm\n  optim.lr  of another kind\n");
  });
  std::vector<CommandDefinition> commands;
  commands.push_back(std::move(command));
  return commands;
}

// Standard output of a shell that runs the script from stdin; "" when the shell is not installed.
std::string run_shell(const std::string& shell, const std::string& script) {
  if (std::system(("command -v " + shell + " >/dev/null 2>&1").c_str()) != 0) return "";
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "verbatim_completion_test";
  std::filesystem::create_directories(folder / "some_folder");
  const std::filesystem::path file = folder / ("script." + shell);
  std::ofstream(file) << script;
  std::ofstream(folder / "some_file.txt") << "text";
  const std::string line = "cd '" + folder.string() + "' && " + shell + " '" + file.string() + "' 2>&1";
  FILE* pipe = popen(line.c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  for (size_t size; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) output.append(buffer.data(), size);
  EXPECT_EQ(pclose(pipe), 0) << output;
  return output;
}

std::vector<std::string> bash_completions(const std::vector<std::string>& words) {
  Target target;
  std::string script = completion_script(Shell::kBash, example_commands(target)) + "COMP_WORDS=(";
  for (const std::string& word : words) script += "'" + word + "' ";
  script += ")\nCOMP_CWORD=" + std::to_string(words.size() - 1) +
            "\n_verbatim\n((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"\ntrue\n";
  std::istringstream lines(run_shell("bash", script));
  std::vector<std::string> found;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("compopt") == std::string::npos) found.push_back(line);
  }
  return found;
}

TEST(completion, in_bash_offers_commands_options_choices_settings_and_files) {
  if (std::system("command -v bash >/dev/null 2>&1") != 0) GTEST_SKIP() << "bash is not installed";
  EXPECT_THAT(bash_completions({"verbatim", "ex"}), UnorderedElementsAre("example"));
  EXPECT_THAT(bash_completions({"verbatim", "example", "--fo"}), UnorderedElementsAre("--force"));
  EXPECT_THAT(bash_completions({"verbatim", "example", "--kind", "t"}), UnorderedElementsAre("text", "toml"));
  EXPECT_THAT(bash_completions({"verbatim", "example", "--optim."}),
              UnorderedElementsAre("--optim.lr=", "--optim.clip="));
  EXPECT_THAT(bash_completions({"verbatim", "example", "--out", "some"}), UnorderedElementsAre("some_folder"));
  EXPECT_THAT(bash_completions({"verbatim", "example", "some"}), UnorderedElementsAre("some_folder", "some_file.txt"));
  EXPECT_THAT(bash_completions({"verbatim", "unknown", "--fo"}), UnorderedElementsAre());
}

TEST(completion, is_valid_in_shells_that_are_installed) {
  Target target;
  // A shell that only reads the script finds mistakes of quoting.
  run_shell("zsh", "compdef() { :; }\n" + completion_script(Shell::kZsh, example_commands(target)));
  run_shell("fish", completion_script(Shell::kFish, example_commands(target)));
  run_shell("bash", completion_script(Shell::kBash, example_commands(target)));
}

TEST(completion, in_zsh_and_fish_names_options_with_their_help) {
  Target target;
  const std::string zsh = completion_script(Shell::kZsh, example_commands(target));
  EXPECT_THAT(zsh, HasSubstr("'example:it'\\''s \\[an\\] example\\: one'"));
  EXPECT_THAT(zsh, HasSubstr("'--kind[kind]:TEXT:(text toml jsonl)'"));
  EXPECT_THAT(zsh, HasSubstr("'*:FILE:_files'"));
  const std::string fish = completion_script(Shell::kFish, example_commands(target));
  EXPECT_THAT(fish, HasSubstr("-l kind -x -a 'text toml jsonl' -d 'kind'"));
  EXPECT_THAT(fish, HasSubstr("-s o -l out -x -a '(__fish_complete_directories)' -d 'folder'\\''s name'"));
}

}  // namespace
}  // namespace verbatim
