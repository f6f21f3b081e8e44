#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/command.h"

namespace verbatim {

// `verbatim inspect --what-if`: what a known language model would cost with another encoder, from shapes alone. Needs
// no tensors, so the program answers without opening the tensor library.
struct WhatIfFlags {
  std::string model;
  std::string encoder;              // empty: tokun:4x4x4
  std::filesystem::path tokenizer;  // empty: none
};

// Declares --what-if, --encoder and --tokenizer; both definitions of `inspect` have them.
void add_what_if_options(OptionSet& options, WhatIfFlags& flags);

// Whether --what-if stands among the words behind `inspect`, and no call for help.
[[nodiscard]] bool asks_what_if(const std::vector<std::string>& arguments);

// `inspect` with --what-if alone.
[[nodiscard]] CommandDefinition what_if_command();

}  // namespace verbatim
