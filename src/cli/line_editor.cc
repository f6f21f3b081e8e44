#include "cli/line_editor.h"

#ifdef VERBATIM_HAS_EDIT
#include <editline/readline.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace verbatim {

namespace fs = std::filesystem;

#ifdef VERBATIM_HAS_EDIT

namespace {
constexpr int kHistoryLines = 1000;
}

LineEditor::LineEditor(fs::path history_file) : history_file_(std::move(history_file)) {
  using_history();
  stifle_history(kHistoryLines);
  if (!history_file_.empty()) read_history(history_file_.c_str());
}

LineEditor::~LineEditor() {
  if (history_file_.empty()) return;
  std::error_code ignored;  // a history that cannot be kept is no reason to fail
  fs::create_directories(history_file_.parent_path(), ignored);
  write_history(history_file_.c_str());
}

std::optional<std::string> LineEditor::read_line(const std::string& prompt) {
  char* line = readline(prompt.c_str());
  if (line == nullptr) return std::nullopt;
  std::string text(line);
  std::free(line);
  if (!text.empty()) add_history(text.c_str());
  return text;
}

#else

LineEditor::LineEditor(fs::path history_file) : history_file_(std::move(history_file)) {}
LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::read_line(const std::string& prompt) {
  std::cout << prompt << std::flush;
  std::string text;
  if (!std::getline(std::cin, text)) return std::nullopt;
  return text;
}

#endif

fs::path state_file(const std::string& name) {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != 0) {
    return fs::path(state) / "verbatim" / name;
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != 0) {
    return fs::path(home) / ".local" / "state" / "verbatim" / name;
  }
  return {};
}

}  // namespace verbatim
