#pragma once

#include <string_view>

namespace verbatim {

// stderr as a terminal, shared by log lines and the live progress line so that neither tears the other.

// Whether a line can be rewritten in place: stderr is a terminal and TERM is not "dumb".
[[nodiscard]] bool has_live_terminal();
// Whether NO_COLOR leaves colours allowed on a terminal.
[[nodiscard]] bool wants_colors();
// Columns of the terminal; 80 when unknown.
[[nodiscard]] int terminal_columns();

// Replaces the live line. Cut to the terminal's width.
void show_live_line(std::string_view line);
// Removes the live line, when there is one.
void clear_live_line();
// Writes a whole line to stderr above the live line, which is drawn again below it.
void write_error_line(std::string_view line);

}  // namespace verbatim
