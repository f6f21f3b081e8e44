#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace verbatim {

struct JsonLineError {
  size_t column = 0;    // 0-based byte in the line
  std::string message;  // "expected ':' after a member name"
};

// Reads one JSON object (RFC 8259) and puts its member `field`, which must be a string, into `text`, with escapes
// resolved to UTF-8. The last member of that name counts. Goals: one pass, no tree, no allocation but `text`; the whole
// line is checked, not only the member. Bytes of strings pass as they are, valid UTF-8 or not; an escaped half of a
// surrogate pair has no bytes and is an error.
[[nodiscard]] std::optional<JsonLineError> read_json_member(std::string_view line, std::string_view field,
                                                            std::string& text);

}  // namespace verbatim
