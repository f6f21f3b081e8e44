#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// A level of patches as a page shows it.
struct PageLevel {
  std::string rule;                     // where it cuts: "space", "fixed:4", "learned"
  std::vector<float> probability = {};  // [positions] of a boundary, -1 where the level had no row; empty for rules
  bool begins_patch = false;            // a boundary begins a patch with its position, otherwise it ends one there
  std::vector<uint64_t> ends = {};      // bytes behind each patch; the patches tile the text
};

// What a page shows of one text and the model that read it. Positions tile the text.
struct TextPageContent {
  std::string title;     // of the text: a file name, or a few words
  std::string model;     // folder or settings file as given
  std::string family;    // of the model
  std::string position;  // what a position is called: "byte", "token", "word"
  int64_t parameters = 0;
  std::string_view document;  // any bytes
  std::vector<uint64_t> position_ends = {};
  std::vector<std::vector<int32_t>> ids = {};  // [positions]; empty where they say no more than the bytes
  std::vector<double> bits = {};               // [positions] cost of each; empty: the text was not scored
  double end_bits = 0;                         // cost of the document's end
  std::vector<PageLevel> levels = {};          // the finest first
};

// A page with more text answers slowly in a browser.
inline constexpr uint64_t kMostPageBytes = uint64_t{1} << 20;

// Throws InputError when a text of so many bytes is too long for a page; `name` is what it is called. Asked before a
// model reads it.
void check_page_size(uint64_t bytes, std::string_view name);

// One HTML file without references to others: the text as it reads, coloured by the bits per byte of each position,
// with the boundaries of every level, for light and dark screens.
//
// Without scripts the page shows figures, text, colours of the first kilobytes, boundaries there, and tooltips. Its
// script reads the numbers (JSON in the page) and draws the parts near the window in full, so that long texts stay
// quick. Nothing of the text is ever markup: it is escaped in HTML and stands as base64 in the JSON.
[[nodiscard]] std::string text_page(const TextPageContent& content);

}  // namespace verbatim
