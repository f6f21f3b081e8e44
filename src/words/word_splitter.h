#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// How text is cut into words (T-Free specification, section 1). The defaults are the improved rules; strict() gives the
// reference's, each fix can be switched alone.
struct SplitOptions {
  // A run of `<|...|>` in the text is one special word (strict). Off: only the words in `special_words` are, and text
  // that looks like a marker is split like any other, so that every byte string survives.
  bool markers_in_text = false;
  std::vector<std::string> special_words;
  bool keep_marks = true;      // combining marks and joiners stay with the character before them
  bool cut_blankless = true;   // scripts without blanks are cut into short words, with no marker word between them
  uint32_t longest_word = 64;  // bytes; longer runs are cut at character borders. 0: no limit
  bool lowercase = false;      // full Unicode lower-casing of the whole text first (not lossless)

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
class WordSplitter {
 public:
  explicit WordSplitter(SplitOptions options = {});

  // Appends to `out`. The text must outlive the words.
  void split(std::string_view text, Words& out) const;
  // Appends the bytes that `word` stands for behind `previous` (empty: nothing before it), the implied blank included.
  // Joined over the words of a text they give the text (strict: unless it holds literal markers).
  void append_bytes(std::string_view previous, std::string_view word, std::string& out) const;
  [[nodiscard]] std::string join(const std::vector<std::string_view>& words) const;
  [[nodiscard]] const SplitOptions& options() const { return options_; }
  // Whether every byte string survives split and join.
  [[nodiscard]] bool lossless() const;

 private:
  SplitOptions options_;
};

}  // namespace verbatim
