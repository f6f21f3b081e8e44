#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/literal_matcher.h"
#include "words/character_kind.h"

namespace verbatim {

// How text is cut into words (T-Free specification, section 1). The defaults are the improved rules; strict() gives the
// reference's, and each difference can be switched alone.
struct SplitOptions {
  // A run of `<|...|>` in the text is one special word (section 1.1). Off: only the words in `special_words` are, and
  // text that looks like a marker is split like any other, so that every byte string survives.
  bool markers_in_text = false;
  // Taken whole wherever they stand in the text, of several the leftmost and longest. Without markers_in_text only.
  std::vector<std::string> special_words = {};
  bool keep_marks = true;  // combining marks and joiners stay with the character before them
  // Scripts without blanks are cut into short words, with no marker word between them: a Han character, up to two
  // Hiragana, a run of Katakana, a syllable as it is written in Thai, Lao, Khmer, Myanmar and their relatives.
  bool cut_blankless = true;
  // No blank is implied beside the relatives of the characters in the sets AFTER and BEFORE of section 1.3: brackets
  // and quotation marks outside ASCII, other scripts' stops, tabs, controls, bytes outside UTF-8.
  bool wide_sets = true;
  uint32_t longest_word =
      64;                  // bytes; longer words are cut, where possible before a character with its marks. 0: no limit
  bool lowercase = false;  // full Unicode lower-casing of the whole text first (not lossless)

  [[nodiscard]] static SplitOptions strict();
};

// One word: what is hashed, and how far into the text it reaches. A blank that is implied belongs to the word behind
// it.
struct Word {
  std::string_view text;  // the word itself, or a marker such as <|no_ws|> that stands for blanks, line feeds, nothing
  uint32_t end = 0;       // byte offset in the text just behind the word; equal to the one before for <|no_ws|>
};

// The words of a text. Views point into the text, into constants, or into `storage`.
struct Words {
  std::vector<Word> list;
  std::deque<std::string> storage;
  void clear();
};

// Cuts text into words and puts it together again. Thread safe. Linear in the length of the text.
//
// Whether a blank is implied between two words depends on nothing but these words: neither is special, and the last
// character of the first and the first character of the second (marks aside) allow it. The splitter writes <|no_ws|>
// where that would be wrong, and <|ws|> for the blanks that are not implied.
class WordSplitter {
 public:
  // Throws InputError for special words that are empty, not valid UTF-8, equal to a marker, or have no effect.
  explicit WordSplitter(SplitOptions options = {});

  // Appends to `out`. The text must outlive the words. The ends count from the beginning of this text and do not
  // decrease; the last one is its size. Throws InputError for texts of 4 GiB and more.
  void split(std::string_view text, Words& out) const;
  // Appends the bytes that `word` stands for behind `previous` (empty: nothing before it), the implied blank included.
  // Joined over the words of a text they give the text (strict: unless it holds literal markers): when lossless(),
  // word i gives exactly the bytes between the ends of word i-1 and of word i.
  void append_bytes(std::string_view previous, std::string_view word, std::string& out) const;
  [[nodiscard]] std::string join(const std::vector<std::string_view>& words) const;
  [[nodiscard]] const SplitOptions& options() const { return options_; }
  // Whether every byte string survives split and join.
  [[nodiscard]] bool lossless() const { return !options_.markers_in_text && !options_.lowercase; }

 private:
  // What the rules need of a character; the meaning of its kind under the options.
  using Flags = uint8_t;
  static constexpr Flags kNoBlankAfter = 1;   // the set AFTER of section 1.3, and more with wide_sets
  static constexpr Flags kNoBlankBefore = 2;  // the set BEFORE
  static constexpr Flags kBlankless = 4;      // no blank between two of these
  static constexpr Flags kJoins = 8;          // runs of these are one word
  static constexpr Flags kExtends = 16;       // belongs to the character before it

  struct Unit;
  struct Scan;
  struct Piece;

  [[nodiscard]] Unit unit_at(std::string_view text, size_t position) const;
  [[nodiscard]] Flags first_flags(std::string_view text, size_t position) const;
  [[nodiscard]] Flags last_flags(std::string_view word) const;
  [[nodiscard]] bool is_special(std::string_view word) const;
  [[nodiscard]] static bool implies_blank(Flags last, Flags first) {
    return ((last & kNoBlankAfter) | (first & kNoBlankBefore) | (last & first & kBlankless)) == 0;
  }

  void split_at_markers(std::string_view text, std::vector<Word>& list) const;
  void split_at_special_words(std::string_view text, std::vector<Word>& list) const;
  void split_piece(std::string_view text, size_t begin, size_t end, std::vector<Word>& list) const;
  [[nodiscard]] Scan scan_word(std::string_view text, size_t begin, size_t end) const;
  [[nodiscard]] bool starts_word(std::string_view text, size_t position, const Unit& base, const Unit& before,
                                 const Unit& next, size_t bases) const;

  SplitOptions options_;
  LiteralMatcher special_words_;
  std::array<Flags, kCharacterKinds> flags_of_kind_{};
  std::array<Flags, 128> flags_of_ascii_{};
  size_t longest_word_ = 0;  // bytes, no limit as a number
  const CharacterKinds& kinds_;
};

}  // namespace verbatim
