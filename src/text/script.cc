#include "text/script.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"
#include "text/utf8.h"

namespace verbatim {

namespace {

struct Block {
  char32_t first, last;
  Script script;
};

constexpr Block kBlocks[] = {
    {0x41, 0x5A, Script::kLatin},        {0x61, 0x7A, Script::kLatin},         {0xAA, 0xAA, Script::kLatin},
    {0xBA, 0xBA, Script::kLatin},        {0xC0, 0x24F, Script::kLatin},        {0x250, 0x2AF, Script::kLatin},
    {0x370, 0x3FF, Script::kGreek},      {0x400, 0x52F, Script::kCyrillic},    {0x530, 0x58F, Script::kArmenian},
    {0x590, 0x5FF, Script::kHebrew},     {0x600, 0x6FF, Script::kArabic},      {0x750, 0x77F, Script::kArabic},
    {0x8A0, 0x8FF, Script::kArabic},     {0x900, 0x97F, Script::kDevanagari},  {0x980, 0x9FF, Script::kBengali},
    {0xA00, 0xA7F, Script::kGurmukhi},   {0xA80, 0xAFF, Script::kGujarati},    {0xB00, 0xB7F, Script::kOriya},
    {0xB80, 0xBFF, Script::kTamil},      {0xC00, 0xC7F, Script::kTelugu},      {0xC80, 0xCFF, Script::kKannada},
    {0xD00, 0xD7F, Script::kMalayalam},  {0xD80, 0xDFF, Script::kSinhala},     {0xE00, 0xE7F, Script::kThai},
    {0xE80, 0xEFF, Script::kLao},        {0xF00, 0xFFF, Script::kTibetan},     {0x1000, 0x109F, Script::kMyanmar},
    {0x10A0, 0x10FF, Script::kGeorgian}, {0x1100, 0x11FF, Script::kHangul},    {0x1200, 0x139F, Script::kEthiopic},
    {0x1780, 0x17FF, Script::kKhmer},    {0x1800, 0x18AF, Script::kMongolian}, {0x1C80, 0x1C8F, Script::kCyrillic},
    {0x1C90, 0x1CBF, Script::kGeorgian}, {0x1E00, 0x1EFF, Script::kLatin},     {0x1F00, 0x1FFF, Script::kGreek},
    {0x2C60, 0x2C7F, Script::kLatin},    {0x2DE0, 0x2DFF, Script::kCyrillic},  {0x2E80, 0x2FDF, Script::kHan},
    {0x3005, 0x3007, Script::kHan},      {0x3040, 0x30FF, Script::kKana},      {0x3130, 0x318F, Script::kHangul},
    {0x31F0, 0x31FF, Script::kKana},     {0x3400, 0x4DBF, Script::kHan},       {0x4E00, 0x9FFF, Script::kHan},
    {0xA640, 0xA69F, Script::kCyrillic}, {0xA720, 0xA7FF, Script::kLatin},     {0xA8E0, 0xA8FF, Script::kDevanagari},
    {0xA960, 0xA97F, Script::kHangul},   {0xAA60, 0xAA7F, Script::kMyanmar},   {0xAB30, 0xAB6F, Script::kLatin},
    {0xAC00, 0xD7FF, Script::kHangul},   {0xF900, 0xFAFF, Script::kHan},       {0xFB00, 0xFB06, Script::kLatin},
    {0xFB1D, 0xFB4F, Script::kHebrew},   {0xFB50, 0xFDFF, Script::kArabic},    {0xFE70, 0xFEFE, Script::kArabic},
    {0xFF21, 0xFF3A, Script::kLatin},    {0xFF41, 0xFF5A, Script::kLatin},     {0xFF66, 0xFF9F, Script::kKana},
    {0xFFA0, 0xFFDC, Script::kHangul},   {0x1B000, 0x1B16F, Script::kKana},    {0x20000, 0x3FFFF, Script::kHan},
};

constexpr std::array<std::string_view, static_cast<size_t>(Script::kCount)> kNames = {
    "other",      "Latin",     "Greek",    "Cyrillic", "Armenian",  "Hebrew",  "Arabic",
    "Devanagari", "Bengali",   "Gurmukhi", "Gujarati", "Oriya",     "Tamil",   "Telugu",
    "Kannada",    "Malayalam", "Sinhala",  "Thai",     "Lao",       "Tibetan", "Myanmar",
    "Georgian",   "Hangul",    "Ethiopic", "Khmer",    "Mongolian", "Kana",    "Han"};

}  // namespace

std::string_view name_of(Script script) { return kNames[static_cast<size_t>(script)]; }

Script script_of(char32_t character) {
  const auto* block = std::upper_bound(std::begin(kBlocks), std::end(kBlocks), character,
                                       [](char32_t value, const Block& b) { return value < b.first; });
  if (block == std::begin(kBlocks) || character > (--block)->last) return Script::kOther;
  const uint8_t classes = character_classes(character);
  return (classes & (kLetter | kMark | kNumber)) != 0 ? block->script : Script::kOther;
}

Script script_of(std::string_view text) {
  std::array<size_t, static_cast<size_t>(Script::kCount)> counts{};
  for (const Utf8Unit unit : Utf8Units(text)) {
    if (unit.code_point.valid) ++counts[static_cast<size_t>(script_of(unit.code_point.value))];
  }
  counts[0] = 0;
  return static_cast<Script>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

}  // namespace verbatim
