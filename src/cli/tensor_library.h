#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// The part of the program that uses LibTorch, a shared library beside it (or in ../lib of an installation). It is
// opened when a command needs it, because opening costs a good part of a second and help should not.

// Runs a command of the library and returns its exit code. Throws InputError when the library is missing.
[[nodiscard]] int run_tensor_command(std::string_view name, const std::vector<std::string>& arguments);

}  // namespace verbatim

// What the library offers: tensor commands by name, and "--version" (LibTorch and BLAS as lines on stdout). Never
// throws.
extern "C" int verbatim_run_tensor_command(const char* name, int argc, const char** argv);
