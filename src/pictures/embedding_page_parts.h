#pragma once

#include <string_view>

namespace verbatim {

// The parts of embedding_page() that are the same in every page.

// CSS. Colours of scripts are h0..h7 and "other".
extern const std::string_view kEmbeddingPageStyle;
// JavaScript; what it reads from the page is listed on top of it.
extern const std::string_view kEmbeddingPageScript;

}  // namespace verbatim
