#include "words/case_mapping.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/utf8.h"
#include "words/unicode_category.h"

namespace verbatim {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kSigma = 0x3C3;
constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kDotAbove = 0x307;

struct Range {
  char32_t first;
  char32_t last;
};

template <size_t N>
bool contains(const std::array<Range, N>& ranges, char32_t value) {
  const auto* range = std::lower_bound(ranges.begin(), ranges.end(), value,
                                       [](const Range& range, char32_t value) { return range.last < value; });
  return range != ranges.end() && range->first <= value;
}

// PropList.txt: Other_Lowercase and Other_Uppercase.
constexpr std::array<Range, 27> kOtherCased = {
    {{0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},     {0x2E0, 0x2E4},
     {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},   {0x1D9B, 0x1DBF},
     {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2160, 0x217F},   {0x24B6, 0x24E9},
     {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},   {0xAB5C, 0xAB5F},
     {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x1F130, 0x1F149},
     {0x1F150, 0x1F169}, {0x1F170, 0x1F189}}};

// WordBreakProperty.txt: MidLetter, MidNumLet and Single_Quote.
constexpr std::array<Range, 15> kInsideWords = {{{0x27, 0x27},
                                                 {0x2E, 0x2E},
                                                 {0x3A, 0x3A},
                                                 {0xB7, 0xB7},
                                                 {0x387, 0x387},
                                                 {0x55F, 0x55F},
                                                 {0x5F4, 0x5F4},
                                                 {0x2018, 0x2019},
                                                 {0x2024, 0x2024},
                                                 {0x2027, 0x2027},
                                                 {0xFE13, 0xFE13},
                                                 {0xFE52, 0xFE52},
                                                 {0xFE55, 0xFE55},
                                                 {0xFF07, 0xFF07},
                                                 {0xFF0E, 0xFF0E}}};

// The property Cased.
bool is_cased(char32_t value) {
  switch (unicode_category(value)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return contains(kOtherCased, value);
  }
}

// The property Case_Ignorable.
bool is_case_ignorable(char32_t value) {
  switch (unicode_category(value)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return contains(kInsideWords, value) || value == 0xFF1A;
  }
}

// The condition Final_Sigma: a cased letter stands before and none behind, apart from ignorable characters.
// `cased_before` comes from the pass over the text.
bool is_final_sigma(std::string_view text, size_t behind, bool cased_before) {
  if (!cased_before) return false;
  while (behind < text.size()) {
    const CodePoint next = decode_utf8(text, behind);
    if (!next.valid) return true;
    if (!is_case_ignorable(next.value)) return !is_cased(next.value);
    behind += next.size;
  }
  return true;
}

// Not in the long stretches of East Asian characters.
bool may_have_case(char32_t value) { return value < 0x2E80 || value >= 0xD7A4 || (value >= 0xA640 && value < 0xAC00); }

}  // namespace

std::string lower_case(std::string_view text) {
  std::vector<CaseShift> shifts;
  return lower_case(text, shifts);
}

std::string lower_case(std::string_view text, std::vector<CaseShift>& shifts) {
  std::string lowered;
  lowered.reserve(text.size());
  bool cased_before = false;  // the last character that is not ignorable is cased
  for (size_t position = 0; position < text.size();) {
    const CodePoint unit = decode_utf8(text, position);
    const size_t begin = lowered.size();
    if (unit.value < 0x80) {
      const char c = static_cast<char>(unit.value);
      const bool upper = c >= 'A' && c <= 'Z';
      lowered += upper ? static_cast<char>(c + ('a' - 'A')) : c;
      if (upper || (c >= 'a' && c <= 'z')) {
        cased_before = true;
      } else if (!is_case_ignorable(unit.value)) {
        cased_before = false;
      }
    } else if (!unit.valid) {
      lowered += text[position];
      cased_before = false;
    } else {
      if (unit.value == kCapitalIWithDot) {
        lowered += 'i';
        append_utf8(lowered, kDotAbove);
      } else if (unit.value == kCapitalSigma) {
        append_utf8(lowered, is_final_sigma(text, position + unit.size, cased_before) ? kFinalSigma : kSigma);
      } else {
        append_utf8(lowered, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(unit.value))));
      }
      if (!is_case_ignorable(unit.value)) cased_before = is_cased(unit.value);
    }
    position += unit.size;
    if (lowered.size() - begin != unit.size) shifts.push_back({lowered.size(), position});
  }
  return lowered;
}

void fold_case_in_place(std::string_view text, std::string& out) {
  out.clear();
  for (size_t position = 0; position < text.size();) {
    const CodePoint unit = decode_utf8(text, position);
    if (unit.value < 0x80) {
      const char c = static_cast<char>(unit.value);
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    } else {
      const size_t begin = out.size();
      if (unit.valid && may_have_case(unit.value)) {
        std::array<utf8proc_int32_t, 4> folded;  // a full folding has at most three characters
        int boundary = 0;
        const utf8proc_ssize_t count =
            utf8proc_decompose_char(static_cast<utf8proc_int32_t>(unit.value), folded.data(),
                                    static_cast<utf8proc_ssize_t>(folded.size()), UTF8PROC_CASEFOLD, &boundary);
        for (utf8proc_ssize_t i = 0; i < count && i < static_cast<utf8proc_ssize_t>(folded.size()); ++i) {
          append_utf8(out, static_cast<char32_t>(folded[static_cast<size_t>(i)]));
        }
      }
      if (out.size() - begin != unit.size) out.replace(begin, std::string::npos, text.substr(position, unit.size));
    }
    position += unit.size;
  }
}

}  // namespace verbatim
