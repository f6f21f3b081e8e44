#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace verbatim {

// Word splitting by hand for the regular expressions that nearly all byte-level tokenizers use. Every text is cut into
// words without a rest; a byte outside valid UTF-8 counts as one character that is no letter, number or space.
enum class WordPattern {
  kGpt2,    // GPT-2, and ByteLevel with use_regex
  kLlama3,  // Llama-3 and GPT-4 (cl100k): case-blind contractions, 1 to 3 digits, line breaks stay with punctuation
  kQwen2,   // as kLlama3 with single digits
};

// The regular expression a pattern stands for, as it is written in tokenizer.json.
[[nodiscard]] std::string_view regex_of(WordPattern pattern);
// The pattern with exactly this regular expression.
[[nodiscard]] std::optional<WordPattern> find_word_pattern(std::string_view regex);

// The end of the word that begins at `begin` (a word boundary, inside the text).
[[nodiscard]] size_t word_end(WordPattern pattern, std::string_view text, size_t begin);

}  // namespace verbatim
