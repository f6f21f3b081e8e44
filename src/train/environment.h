#pragma once

#include <filesystem>
#include <string>

namespace verbatim {

// The program that trains, as it knows itself.
struct ProgramInfo {
  std::string version, commit, compiler, command_line;
};

// What a run was made with and on: the program, LibTorch, the machine, the data. As JSON.
[[nodiscard]] std::string environment_json(const ProgramInfo& program, const std::filesystem::path& data);

}  // namespace verbatim
