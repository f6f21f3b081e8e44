#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace verbatim {

// The table of commands, in the order of the help.
struct CommandRow {
  std::string_view name;
  std::string_view summary;                               // one line
  int (*run)(const std::vector<std::string>& arguments);  // the words after the name; returns the exit code
  bool needs_tensors;                                     // lives in libverbatim_tensor.so
};
[[nodiscard]] const std::vector<CommandRow>& commands();

// Null when there is none of this name.
[[nodiscard]] const CommandRow* find_command(std::string_view name);

// Makes the definitions of the commands that are linked in: plain ones in the program, all of them in the library.
using DefinitionMaker = CommandDefinition (*)();
struct NamedMaker {
  std::string_view name;
  DefinitionMaker make;
};
[[nodiscard]] const std::vector<NamedMaker>& plain_definitions();
// Filled by the tensor library when it is entered; empty in the program itself.
[[nodiscard]] std::vector<NamedMaker>& tensor_definitions();

// The definition of a command with its common options added to it; `common` must outlive it.
[[nodiscard]] CommandDefinition complete_definition(DefinitionMaker make, CommonOptions& common);

// Parses, sets logging and signals up, calls `prepare` when given, runs, and turns exceptions into messages and codes.
[[nodiscard]] int run_command(DefinitionMaker make, const std::vector<std::string>& arguments,
                              void (*prepare)(const CommonOptions&) = nullptr);

// Whether the words ask for the short help (and not for --help-all).
[[nodiscard]] bool asks_for_help(const std::vector<std::string>& arguments);

// The one place that maps exceptions to exit codes: InputError and UsageError 2, Interrupted 130, all others 1. To be
// called in a catch block; writes "verbatim COMMAND: error: ..." to stderr.
[[nodiscard]] int report_exception(std::string_view command);

}  // namespace verbatim
