#include "words/marker_words.h"

namespace verbatim {
namespace {

constexpr uint32_t kLongestRun = 1'000'000;

// "<|", a number, anything with "<-ws->" or "<-LF->" in it, "|>" (section 1.5).
MarkerMeaning run_meaning(std::string_view word) {
  uint32_t count = 0;
  for (size_t i = 2; word[i] >= '0' && word[i] <= '9'; ++i) {
    count = count * 10 + static_cast<uint32_t>(word[i] - '0');
    if (count > kLongestRun) return {};
  }
  if (word.find("<-ws->") != std::string_view::npos) return {true, ' ', count};
  if (word.find("<-\n->") != std::string_view::npos) return {true, '\n', count};
  return {};
}

}  // namespace

MarkerMeaning marker_meaning(std::string_view word) {
  if (!has_marker_form(word)) return {};
  if (word == kBlankWord) return {true, ' ', 1};
  if (word == kLineFeedWord) return {true, '\n', 1};
  if (word == kNoBlankWord) return {true, ' ', 0};
  if (word[2] >= '0' && word[2] <= '9') return run_meaning(word);
  return {};
}

}  // namespace verbatim
