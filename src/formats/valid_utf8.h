#pragma once

#include <string>
#include <string_view>

namespace verbatim {

// `bytes` with U+FFFD in place of everything that is not valid UTF-8: JSON and protocol buffers hold nothing else in
// their strings. For logs only; data keeps its bytes.
[[nodiscard]] std::string with_valid_utf8(std::string_view bytes);

}  // namespace verbatim
