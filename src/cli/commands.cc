#include "cli/commands.h"

#include <algorithm>
#include <array>

#include "cli/bench.h"
#include "cli/tensor_library.h"
#include "cli/tensor_options.h"
#include "cli/what_if.h"

namespace verbatim {

#define VERBATIM_COMMAND(name) CommandDefinition name##_command();
#include "plain_commands.inc"
#undef VERBATIM_COMMAND
CommandDefinition bench_command();

namespace {

template <DefinitionMaker kMake>
int run_plain(const std::vector<std::string>& arguments) {
  return run_command(kMake, arguments);
}

// The library is opened for what it does, not for saying what that is.
int help_here_or_run_there(std::string_view name, const std::vector<std::string>& arguments) {
  if (asks_for_help(arguments)) {
    for (const NamedMaker& maker : tensor_command_helps()) {
      if (maker.name == name) return run_command(maker.make, arguments);
    }
  }
  return run_tensor_command(name, arguments);
}

// Benches that need no tensors, and the list of all, run in the program itself; the library has all of them.
int run_bench_here_or_there(const std::vector<std::string>& arguments) {
  const auto needs_library = [](const std::string& word) {
    const std::vector<Bench>& there = tensor_benches();
    return word == "all" ||
           std::any_of(there.begin(), there.end(), [&](const Bench& bench) { return bench.name == word; });
  };
  const bool is_here = asks_for_help(arguments) || std::none_of(arguments.begin(), arguments.end(), needs_library);
  return is_here ? run_command(bench_command, arguments) : run_tensor_command("bench", arguments);
}

// Questions about known models are answered from shapes.
int run_inspect_here_or_there(const std::vector<std::string>& arguments) {
  return asks_what_if(arguments) ? run_command(what_if_command, arguments)
                                 : help_here_or_run_there("inspect", arguments);
}

struct NameAndSummary {
  std::string_view name, summary;
};

// All commands there may be; those whose file exists are in the table.
constexpr NameAndSummary kSummaries[] = {
    {"prepare", "turns text files into memory maps for training"},
    {"dictionary", "makes the list of words that a T-Free model can write"},
    {"train", "trains a model, or goes on training it"},
    {"eval", "measures a model: bits per byte and more"},
    {"generate", "writes text with a model"},
    {"encode", "shows the positions a model sees in a text"},
    {"inspect", "shows structure, parameters, memory and cost of a model"},
    {"import", "turns a public checkpoint into a model folder"},
    {"export", "turns a model into a public checkpoint format"},
    {"bench", "measures speed as ratios to a stated reference"},
    {"completion", "prints completion for bash, zsh or fish"},
};

std::vector<CommandRow> make_table() {
  struct Known {
    std::string_view name;
    int (*run)(const std::vector<std::string>&);
    bool needs_tensors;
  };
  const std::vector<Known> known = {
#define VERBATIM_COMMAND(name) Known{#name, run_plain<name##_command>, false},
#include "plain_commands.inc"
#undef VERBATIM_COMMAND
#define VERBATIM_COMMAND(name)                                                                                     \
  Known{#name, [](const std::vector<std::string>& arguments) { return help_here_or_run_there(#name, arguments); }, \
        true},
#include "tensor_commands.inc"
#undef VERBATIM_COMMAND
  };
  std::vector<CommandRow> table;
  for (const NameAndSummary& entry : kSummaries) {
    for (const Known& command : known) {
      if (command.name != entry.name) continue;
      CommandRow row{entry.name, entry.summary, command.run, command.needs_tensors};
      if (entry.name == "bench") row.run = run_bench_here_or_there;
      if (entry.name == "inspect") row.run = run_inspect_here_or_there;
      table.push_back(row);
    }
  }
  return table;
}

}  // namespace

const std::vector<CommandRow>& commands() {
  static const std::vector<CommandRow> table = make_table();
  return table;
}

const CommandRow* find_command(std::string_view name) {
  for (const CommandRow& row : commands()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

const std::vector<NamedMaker>& plain_definitions() {
  static const std::vector<NamedMaker> makers = {
#define VERBATIM_COMMAND(name) NamedMaker{#name, name##_command},
#include "plain_commands.inc"
#undef VERBATIM_COMMAND
  };
  return makers;
}

std::vector<NamedMaker>& tensor_definitions() {
  static std::vector<NamedMaker> makers;
  return makers;
}

}  // namespace verbatim
