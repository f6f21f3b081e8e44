#pragma once

#include <string>

#include "cli/command.h"

namespace verbatim {

enum class HelpExtent { kScreen, kAll };

// "verbatim --help": what there is, examples first.
[[nodiscard]] std::string program_help();

// "verbatim COMMAND --help": examples first, then usage and options with units and defaults. kScreen leaves advanced
// and common options out; kAll lists everything, settings included.
[[nodiscard]] std::string command_help(const CommandDefinition& command, HelpExtent extent);

}  // namespace verbatim
