#pragma once

#include <string_view>

namespace verbatim {

// The parts of text_page() that are the same in every page.

// CSS. Colours of the two scales are classes k0..k16 (and q0..q16 for probabilities).
extern const std::string_view kTextPageStyle;
// The switches above the text, hidden until the script runs.
extern const std::string_view kTextPageControls;
// JavaScript; what it reads from the page is listed on top of it.
extern const std::string_view kTextPageScript;

}  // namespace verbatim
