#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace verbatim {

// The words that stand for blanks (U+0020), line feeds and for nothing (T-Free specification, sections 1.3 and 1.4).
inline constexpr std::string_view kNoBlankWord = "<|no_ws|>";  // no blank where one would be implied
inline constexpr std::string_view kBlankWord = "<|ws|>";
inline constexpr std::string_view kTwoBlanksWord = "<|2<-ws->|>";
inline constexpr std::string_view kFourBlanksWord = "<|4<-ws->|>";
inline constexpr std::string_view kLineFeedWord = "<|\n|>";
inline constexpr std::string_view kTwoLineFeedsWord = "<|2<-\n->|>";
inline constexpr std::string_view kFourLineFeedsWord = "<|4<-\n->|>";

// Every marker that the splitter writes.
inline constexpr std::array<std::string_view, 7> kMarkerWords = {
    kNoBlankWord, kBlankWord, kTwoBlanksWord, kFourBlanksWord, kLineFeedWord, kTwoLineFeedsWord, kFourLineFeedsWord,
};

// Whether a word has the form <|...|>; "<|>" has it too, as in the reference.
[[nodiscard]] constexpr bool has_marker_form(std::string_view word) {
  return word.size() >= 3 && word.starts_with("<|") && word.ends_with("|>");
}

// What a marker stands for: `count` times `byte`. Runs of any length can be read ("<|8<-ws->|>" is in dictionaries,
// section 8.3), up to a million; longer ones are no markers.
struct MarkerMeaning {
  bool is_marker = false;
  char byte = ' ';
  uint32_t count = 0;
};
[[nodiscard]] MarkerMeaning marker_meaning(std::string_view word);

}  // namespace verbatim
