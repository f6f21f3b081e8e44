#pragma once

#include <string>

#include "cli/command.h"

namespace verbatim {

// From now on spdlog writes to stderr (messages as they are; warnings and errors as "verbatim COMMAND: error: ...") and
// to the log file when one is named, with time and level. Throws InputError when the file cannot be opened.
void set_up_logging(const std::string& command, const CommonOptions& options);

// Log lines are appended to this file as well from now on. Throws InputError when it cannot be opened.
void add_log_file(const std::string& path);

}  // namespace verbatim
