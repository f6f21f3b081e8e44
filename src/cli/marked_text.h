#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Texts on a terminal with the patches of their levels.
namespace verbatim {

// A part on one line of a terminal: control characters and bytes that are no text become visible.
[[nodiscard]] std::string visible_text(std::string_view bytes);

// The text itself with a mark behind each patch: that of the highest level which ends there. ends: of the patches of
// each level, the first level first. Line ends stay, so that it can be read. A patch that ends inside a character gets
// its mark behind the character.
[[nodiscard]] std::string marked_text(const std::vector<std::vector<uint64_t>>& ends, std::string_view document,
                                      bool has_colors);

// Marks and figures of each level, a line each; bytes: of the text.
[[nodiscard]] std::string nesting_legend(const std::vector<std::vector<uint64_t>>& ends, size_t bytes, bool has_colors);

}  // namespace verbatim
