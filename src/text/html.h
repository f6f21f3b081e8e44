#pragma once

#include <string>
#include <string_view>

// Text inside HTML pages. Nothing of it is ever markup, whatever its bytes are.
namespace verbatim {

// For element content and for attributes in quotes. Bytes that need no escape stay as they are, valid UTF-8 or not.
[[nodiscard]] std::string escape_html(std::string_view text);

// A name from a command line or a file as one line: what is no UTF-8 becomes U+FFFD, a control character becomes a
// space, and the rest is escaped.
[[nodiscard]] std::string escape_html_name(std::string_view text);

// JSON as the content of a script element: without "<", so that nothing in it can end the element.
[[nodiscard]] std::string escape_script_json(std::string_view json);

// Characters that a reader cannot see or that would turn the page around: controls, line separators, directions and
// other invisible signs. Tab, line end and the joiners that letters need are not among them.
[[nodiscard]] bool is_hidden_character(char32_t value);

}  // namespace verbatim
