// The program `verbatim`: finds the command in the table and runs it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/names.h"
#include "base/text_format.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/tensor_library.h"
#include "cli/version.h"

namespace verbatim {
namespace {

void print(const std::string& text) {
  Output output(Output::Format::kText);
  output.text(text);
  output.flush();
}

int print_version() {
  print(fmt::format("verbatim {} (commit {})\ncompiler: {}\n", version(), commit(), compiler()));
  try {
    return run_tensor_command("--version", {});
  } catch (const InputError& error) {
    print(fmt::format("LibTorch: {}\n", error.what()));
    return 0;
  }
}

[[noreturn]] void throw_unknown_command(const std::string& name) {
  if (name.starts_with('-')) throw UsageError(fmt::format("unknown flag {}; the command comes first", name));
  std::vector<std::string> known = {"help"};
  for (const CommandRow& row : commands()) known.emplace_back(row.name);
  throw UsageError(fmt::format("unknown command {}{}", quote_bytes(name), suggest_names(name, known, 1)));
}

int run(std::vector<std::string> words) {
  if (words.empty()) {
    std::fputs(program_help().c_str(), stderr);
    return 2;
  }
  std::string name = words.front();
  words.erase(words.begin());
  if (name == "help" && !words.empty() && !words.front().starts_with('-')) {  // "help train" is "train --help"
    name = words.front();
    words = {"--help"};
  } else if (name == "help" || name == "--help" || name == "-h" || name == "--help-all") {
    print(program_help());
    return 0;
  } else if (name == "--version" || name == "-V" || name == "version") {
    return print_version();
  }
  const CommandRow* row = find_command(name);
  if (row == nullptr) throw_unknown_command(name);
  return row->run(words);
}

}  // namespace
}  // namespace verbatim

int main(int argc, char** argv) {
  try {
    return verbatim::run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (...) {
    return verbatim::report_exception("");
  }
}
