#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace verbatim {

// Lines typed by a person, with editing keys and a history that lasts from one session to the next where libedit is
// there; plain lines otherwise.
class LineEditor {
 public:
  // Empty path: the history is not kept.
  explicit LineEditor(std::filesystem::path history_file);
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  ~LineEditor();  // saves the history

  // Without the newline; none when the input ends.
  [[nodiscard]] std::optional<std::string> read_line(const std::string& prompt);

 private:
  std::filesystem::path history_file_;
};

// $XDG_STATE_HOME/verbatim/NAME, or in ~/.local/state; empty when there is no home.
[[nodiscard]] std::filesystem::path state_file(const std::string& name);

}  // namespace verbatim
