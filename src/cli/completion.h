#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace verbatim {

enum class Shell { kBash, kZsh, kFish };

// A script that completes commands, options, choices, files and settings of the given commands.
[[nodiscard]] std::string completion_script(Shell shell, const std::vector<CommandDefinition>& commands);

}  // namespace verbatim
