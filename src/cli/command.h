#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/output.h"

namespace verbatim {

// Options that every command has.
struct CommonOptions {
  bool json = false;
  int64_t verbosity = 0;            // 0 info, 1 debug, 2 trace
  std::string log_file;             // empty for none
  std::string log_colors = "auto";  // auto, always, never
  int64_t num_threads = 0;          // commands with tensors; 0 for all cores
  bool help = false;
  bool help_all = false;
};

struct CommandContext {
  Output& output;
  const CommonOptions& common;
};

struct CommandExample {
  std::string line;     // as typed, beginning with "verbatim"
  std::string meaning;  // a few words, or empty
};

// One command of the program. Its file src/cli/NAME_command.cc defines `CommandDefinition NAME_command();`, makes a
// struct for its options, binds them and gives the function to run; see README.md here for a complete example.
//
// run() returns the exit code (0 done, 1 failed) or throws: InputError becomes 2, Interrupted 130, others 1, each with
// the message "verbatim NAME: error: ...".
struct CommandDefinition {
  std::string name;
  std::string summary = "";              // one line; from the table of commands when empty
  std::string usage;                     // the words after the name: "INPUT... --out DIR"
  std::vector<CommandExample> examples;  // at least one; shown first in the help
  std::string notes = "";                // a paragraph at the end of --help-all
  OptionSet options = {};
  std::function<int(CommandContext&)> run = {};
  bool has_json = true;  // offers --json
};

}  // namespace verbatim
