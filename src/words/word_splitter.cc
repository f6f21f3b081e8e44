#include "words/word_splitter.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/text_format.h"
#include "text/utf8.h"
#include "words/case_mapping.h"
#include "words/marker_words.h"

namespace verbatim {
namespace {

using enum CharacterKind;

// Section 1.3, without the line feed and the blank that are in both.
constexpr std::string_view kAsciiAfter = "#$=-+*/'\"\\(<[]~^&@%_";
constexpr std::string_view kAsciiBefore = ".,:;?!=-+*/'\"\\)>]~^&@%_0123456789";

constexpr char32_t kZeroWidthJoiner = 0x200D;
constexpr char32_t kMyanmarDotBelow = 0x1037;
constexpr size_t kHiraganaPerWord = 2;

// ASCII letters from the beginning of `data` on, at most `size`.
size_t letter_run(const char* data, size_t size) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  size_t i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    for (; i + 8 <= size; i += 8) {
      uint64_t chunk;
      std::memcpy(&chunk, data + i, 8);
      // In each byte, without carries between bytes: is (c | 0x20) from 'a' to 'z' and below 0x80?
      const uint64_t low = (chunk | 0x20 * kOnes) & 0x7F * kOnes;
      const uint64_t from_a = low + (0x80 - 'a') * kOnes;
      const uint64_t behind_z = low + (0x80 - 'z' - 1) * kOnes;
      const uint64_t other = (~from_a | behind_z | chunk) & 0x80 * kOnes;
      if (other != 0) return i + static_cast<size_t>(std::countr_zero(other)) / 8;
    }
  }
  while (i < size && ((data[i] >= 'a' && data[i] <= 'z') || (data[i] >= 'A' && data[i] <= 'Z'))) ++i;
  return i;
}

// Bytes equal to `byte` from `begin` on.
size_t run_length(std::string_view text, size_t begin, size_t end, char byte) {
  size_t i = begin;
  while (i < end && text[i] == byte) ++i;
  return i - begin;
}

// A run of blanks or line feeds as words: fours, then a two, then a one (section 1.4).
struct RunWords {
  std::string_view one, two, four;
};
constexpr RunWords kBlankRun = {kBlankWord, kTwoBlanksWord, kFourBlanksWord};
constexpr RunWords kLineFeedRun = {kLineFeedWord, kTwoLineFeedsWord, kFourLineFeedsWord};

void append_run(const RunWords& words, size_t begin, size_t count, std::vector<Word>& list) {
  size_t end = begin;
  const auto add = [&](std::string_view word, size_t length) {
    end += length;
    list.push_back({word, static_cast<uint32_t>(end)});
  };
  for (; count >= 4; count -= 4) add(words.four, 4);
  if (count >= 2) add(words.two, 2);
  if (count % 2 == 1) add(words.one, 1);
}

// The stretches <|...|> of section 1.1. Closing marks and line feeds are looked for once, so that many opening marks
// without a closing one cost no more than any other text.
class MarkerFinder {
 public:
  explicit MarkerFinder(std::string_view text) : text_(text) {}

  // The first one at or behind `from`; begin is npos when there is none.
  struct Stretch {
    size_t begin = std::string_view::npos;
    size_t end = 0;
  };
  [[nodiscard]] Stretch find(size_t from) {
    for (size_t begin = text_.find("<|", from); begin != std::string_view::npos; begin = text_.find("<|", begin + 1)) {
      const size_t inside = begin + 2;
      if (closing_ < inside) closing_ = text_.find("|>", inside);
      if (closing_ == std::string_view::npos) break;
      if (line_feed_ < inside) line_feed_ = text_.find('\n', inside);
      if (closing_ < line_feed_) return {begin, closing_ + 2};
    }
    return {};
  }

 private:
  std::string_view text_;
  size_t closing_ = 0;
  size_t line_feed_ = 0;
};

}  // namespace

// A character of the text, or a byte that belongs to none.
struct WordSplitter::Unit {
  char32_t value = 0;
  uint8_t size = 0;
  CharacterKind kind = kOther;
  Flags flags = 0;
};

// How far a word goes, and the flags of its last character, marks aside.
struct WordSplitter::Scan {
  size_t end = 0;
  Flags last = 0;
};

SplitOptions SplitOptions::strict() {
  return {.markers_in_text = true, .keep_marks = false, .cut_blankless = false, .wide_sets = false, .longest_word = 0};
}

void Words::clear() {
  list.clear();
  storage.clear();
}

WordSplitter::WordSplitter(SplitOptions options) : options_(std::move(options)), kinds_(CharacterKinds::get()) {
  longest_word_ = options_.longest_word == 0 ? std::numeric_limits<size_t>::max() : options_.longest_word;
  if (options_.markers_in_text && !options_.special_words.empty()) {
    throw_input("with markers_in_text every <|...|> is special; special_words need markers_in_text = false");
  }
  for (const std::string& word : options_.special_words) {
    if (word.empty()) throw_input("a special word must not be empty");
    if (!is_valid_utf8(word)) throw_input("the special word {} is not valid UTF-8", quote_bytes(word));
    if (marker_meaning(word).is_marker) {
      throw_input("{} cannot be a special word: it stands for blanks or line feeds", quote_bytes(word));
    }
    special_words_.add(word, 0);
  }

  const auto set = [&](std::initializer_list<CharacterKind> kinds, Flags flags) {
    for (const CharacterKind kind : kinds) flags_of_kind_[static_cast<size_t>(kind)] |= flags;
  };
  set({kLetter, kHan, kHiragana, kEastLetter, kProlonged, kBlanklessLetter, kLeadingVowel, kTrailingVowel, kSyllable},
      kJoins);
  if (options_.keep_marks) {
    // A mark with nothing before it begins a word as a letter does.
    set({kMark, kBlanklessMark, kStacker, kFinalMark, kFinalStacker}, kExtends | kJoins);
  }
  if (options_.cut_blankless) {
    set({kHan, kHiragana, kEastLetter, kProlonged, kEastPunctuation}, kNoBlankAfter | kNoBlankBefore);
    set({kBlanklessLetter, kLeadingVowel, kTrailingVowel, kBlanklessMark, kStacker, kFinalMark, kFinalStacker,
         kSyllable, kBlanklessPunctuation},
        kBlankless);
  }
  if (options_.wide_sets) {
    set({kOpening}, kNoBlankAfter);
    set({kClosing}, kNoBlankBefore);
    set({kInvalid, kInvisible, kBetween}, kNoBlankAfter | kNoBlankBefore);
  }
  for (size_t i = 0; i < flags_of_ascii_.size(); ++i) {
    const char c = static_cast<char>(i);
    const CharacterKind kind = kinds_.kind(static_cast<char32_t>(i));
    Flags& flags = flags_of_ascii_[i];
    if (kind == kLetter || kind == kInvisible) flags = flags_of_kind_[static_cast<size_t>(kind)];
    if (c == ' ' || c == '\n' || kAsciiAfter.find(c) != std::string_view::npos) flags |= kNoBlankAfter;
    if (c == ' ' || c == '\n' || kAsciiBefore.find(c) != std::string_view::npos) flags |= kNoBlankBefore;
  }
}

WordSplitter::Unit WordSplitter::unit_at(std::string_view text, size_t position) const {
  const CodePoint code_point = decode_utf8(text, position);
  if (code_point.value < 0x80) {
    const bool letter = (flags_of_ascii_[code_point.value] & kJoins) != 0;
    return {code_point.value, 1, letter ? kLetter : kOther, flags_of_ascii_[code_point.value]};
  }
  const CharacterKind kind = code_point.valid ? kinds_.kind(code_point.value) : kInvalid;
  return {code_point.value, code_point.size, kind, flags_of_kind_[static_cast<size_t>(kind)]};
}

WordSplitter::Flags WordSplitter::first_flags(std::string_view text, size_t position) const {
  const auto byte = static_cast<uint8_t>(text[position]);
  return byte < 0x80 ? flags_of_ascii_[byte] : unit_at(text, position).flags;
}

// Of the last character that extends none, or of the first one when all others extend it.
WordSplitter::Flags WordSplitter::last_flags(std::string_view word) const {
  size_t end = word.size();
  while (true) {
    const size_t begin = utf8_boundary_before(word, end - 1);
    const Flags flags = first_flags(word, begin);
    if (begin == 0 || (flags & kExtends) == 0) return flags;
    end = begin;
  }
}

bool WordSplitter::is_special(std::string_view word) const {
  if (has_marker_form(word)) return true;
  if (special_words_.empty()) return false;
  return std::find(options_.special_words.begin(), options_.special_words.end(), word) != options_.special_words.end();
}

void WordSplitter::split(std::string_view text, Words& out) const {
  if (text.size() > std::numeric_limits<uint32_t>::max()) {
    throw_input("a text of {} bytes is too long to be split into words at once (4 GiB)", text.size());
  }
  std::vector<CaseShift> shifts;
  const size_t first = out.list.size();
  if (options_.lowercase) text = out.storage.emplace_back(lower_case(text, shifts));
  if (options_.markers_in_text) {
    split_at_markers(text, out.list);
  } else {
    split_at_special_words(text, out.list);
  }
  // Ends count in the text as it was given.
  size_t shift = 0;
  for (size_t i = first; i < out.list.size() && !shifts.empty(); ++i) {
    uint32_t& end = out.list[i].end;
    while (shift < shifts.size() && shifts[shift].lowered <= end) ++shift;
    if (shift > 0) end = static_cast<uint32_t>(shifts[shift - 1].original + (end - shifts[shift - 1].lowered));
  }
}

void WordSplitter::split_at_markers(std::string_view text, std::vector<Word>& list) const {
  MarkerFinder markers(text);
  for (size_t begin = 0; begin < text.size();) {
    const MarkerFinder::Stretch marker = markers.find(begin);
    const size_t end = std::min(marker.begin, text.size());
    const std::string_view plain = text.substr(begin, end - begin);
    if (has_marker_form(plain)) {
      list.push_back({plain, static_cast<uint32_t>(end)});
    } else {
      split_piece(text, begin, end, list);
    }
    if (marker.begin == std::string_view::npos) break;
    list.push_back({text.substr(marker.begin, marker.end - marker.begin), static_cast<uint32_t>(marker.end)});
    begin = marker.end;
  }
}

void WordSplitter::split_at_special_words(std::string_view text, std::vector<Word>& list) const {
  for (size_t begin = 0; begin < text.size();) {
    const LiteralMatcher::Match special = special_words_.find(text, begin);
    split_piece(text, begin, std::min(special.begin, text.size()), list);
    if (special.begin == std::string_view::npos) break;
    begin = special.begin + special.size;
    list.push_back({text.substr(special.begin, special.size), static_cast<uint32_t>(begin)});
  }
}

// Sections 1.2 to 1.4 for text[begin, end), which has no special words inside.
void WordSplitter::split_piece(std::string_view text, size_t begin, size_t end, std::vector<Word>& list) const {
  const std::string_view piece = text.substr(0, end);
  Flags last = 0;        // of the word before
  bool at_word = false;  // a word ends here, with no blank behind it
  for (size_t position = begin; position < end;) {
    const char c = text[position];
    if (c == ' ') {
      const size_t count = run_length(text, position, end, ' ');
      const size_t behind = position + count;
      const bool implied =
          count == 1 && position > begin && behind < end && implies_blank(last, first_flags(piece, behind));
      if (!implied) append_run(kBlankRun, position, count, list);
      position = behind;
      at_word = false;
      continue;
    }
    if (c == '\n') {
      const size_t count = run_length(text, position, end, '\n');
      append_run(kLineFeedRun, position, count, list);
      position += count;
      last = flags_of_ascii_['\n'];
      at_word = false;
      continue;
    }
    if (at_word && implies_blank(last, first_flags(piece, position))) {
      list.push_back({kNoBlankWord, static_cast<uint32_t>(position)});
    }
    const Scan word = scan_word(piece, position, end);
    list.push_back({text.substr(position, word.end - position), static_cast<uint32_t>(word.end)});
    last = word.last;
    position = word.end;
    at_word = true;
  }
}

// The word that begins at `begin`, neither at a blank nor at a line feed. `text` ends at `end`.
WordSplitter::Scan WordSplitter::scan_word(std::string_view text, size_t begin, size_t end) const {
  const auto first_byte = static_cast<uint8_t>(text[begin]);
  if (first_byte < 0x80) {
    const Flags flags = flags_of_ascii_[first_byte];
    size_t behind = begin + 1;
    if ((flags & kJoins) != 0) {
      behind += letter_run(text.data() + behind, std::min(end - behind, longest_word_));
    }
    if (behind - begin > longest_word_) return {begin + longest_word_, flags};
    const bool may_go_on = behind < end && static_cast<uint8_t>(text[behind]) >= 0x80;
    if (!may_go_on) return {behind, flags};
  }

  const Unit first = unit_at(text, begin);
  Unit base = first;  // the last character that extends none
  Unit before = first;
  size_t base_begin = begin;
  size_t bases = 1;
  size_t position = begin + first.size;
  while (position < end) {
    const Unit next = unit_at(text, position);
    if ((next.flags & kExtends) == 0) {
      if ((first.flags & kJoins) != 0) {
        if ((next.flags & kJoins) == 0) break;
        if (options_.cut_blankless && starts_word(text, position, base, before, next, bases)) break;
      } else {
        // Emoji are put together with joiners.
        const bool joined = before.value == kZeroWidthJoiner && (before.flags & kExtends) != 0 &&
                            first.kind == kOther && next.kind == kOther && first.value >= 0x80 && next.value >= 0x80;
        if (!joined) break;
      }
    }
    if (position + next.size - begin > longest_word_) {
      // A character goes into the next word with its marks, unless it is the whole word.
      const bool would_part = (next.flags & kExtends) != 0 && base_begin > begin;
      if (would_part) {
        position = base_begin;
        base.flags = last_flags(text.substr(begin, position - begin));
      }
      break;
    }
    if ((next.flags & kExtends) == 0) {
      bases = next.kind == base.kind ? bases + 1 : 1;
      base = next;
      base_begin = position;
    }
    before = next;
    position += next.size;
  }
  return {position, base.flags};
}

// Whether a run of joining characters is cut before `next`, a character that extends none. `base` is the last one of
// these before it, `bases` how many of its kind stand there, `before` the character or mark directly before.
bool WordSplitter::starts_word(std::string_view text, size_t position, const Unit& base, const Unit& before,
                               const Unit& next, size_t bases) const {
  if ((base.flags & kExtends) != 0) return false;  // marks without a character before them
  switch (next.kind) {
    case kLetter:
    case kSyllable:
    case kEastLetter:
      return base.kind != next.kind && !(next.kind == kEastLetter && base.kind == kProlonged);
    case kHan:
      return true;
    case kHiragana:
      return base.kind != kHiragana || bases == kHiraganaPerWord;
    case kProlonged:
      return base.kind != kHiragana && base.kind != kEastLetter && base.kind != kProlonged;
    case kTrailingVowel:
      return base.kind != kBlanklessLetter && base.kind != kLeadingVowel && base.kind != kTrailingVowel;
    case kLeadingVowel:
      return true;
    case kBlanklessLetter:
      break;
    default:
      return true;
  }
  if (base.kind == kLeadingVowel && before.kind == kLeadingVowel) return false;
  if (base.kind != kBlanklessLetter && base.kind != kLeadingVowel && base.kind != kTrailingVowel) return true;
  if (before.kind == kStacker || before.kind == kFinalStacker) return false;
  // A letter with a final mark closes the syllable before it; a dot may stand between.
  size_t behind = position + next.size;
  if (behind >= text.size()) return true;
  Unit mark = unit_at(text, behind);
  if (mark.value == kMyanmarDotBelow && behind + mark.size < text.size()) mark = unit_at(text, behind + mark.size);
  return mark.kind != kFinalMark && mark.kind != kFinalStacker;
}

void WordSplitter::append_bytes(std::string_view previous, std::string_view word, std::string& out) const {
  if (word.empty()) return;
  const MarkerMeaning marker = marker_meaning(word);
  if (marker.is_marker) {
    out.append(marker.count, marker.byte);
    return;
  }
  if (!previous.empty() && !is_special(previous) && !is_special(word) &&
      implies_blank(last_flags(previous), first_flags(word, 0))) {
    out += ' ';
  }
  out += word;
}

std::string WordSplitter::join(const std::vector<std::string_view>& words) const {
  std::string text;
  std::string_view previous;
  for (const std::string_view word : words) {
    append_bytes(previous, word, text);
    previous = word;
  }
  return text;
}

}  // namespace verbatim
