#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/corpus.h"
#include "model/positions.h"
#include "text/script.h"

// What a way of cutting text costs and wastes, before any model is trained: suites `fertility` and `duplicates`.
namespace verbatim {

// How many positions words take (T-Free paper, arXiv 2406.19223, section 4.3: tokens over words).
struct Fertility {
  uint64_t words = 0;      // runs of characters between white space
  uint64_t positions = 0;  // of these words, or of the whole text in the total
  uint64_t bytes = 0;
  uint64_t characters = 0;  // code points; a byte of no character counts as one
  [[nodiscard]] double per_word() const { return ratio(positions, words); }
  [[nodiscard]] double bytes_per_position() const { return ratio(bytes, positions); }
  [[nodiscard]] double per_character() const { return ratio(positions, characters); }

 private:
  static double ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }
};

struct FertilityReport {
  Fertility total;                 // every position and byte, white space included
  std::vector<Fertility> scripts;  // [Script::kCount] words by their script, and the positions that end in them
};

// Every document is segmented as a whole.
[[nodiscard]] FertilityReport measure_fertility(const Segmenter& segmenter, const DocumentSource& documents);

// Shares of a vocabulary that say again what another entry says: with n entries that fall into g groups, (n - g) / n.
// The paper's table 1, reproduced to its last digit for the published Mistral vocabulary.
struct DuplicateReport {
  uint64_t entries = 0;
  double total = 0;    // equal in lower case and without blanks in front
  double capital = 0;  // equal in lower case
  double blank = 0;    // equal without blanks in front
  double digits = 0;   // entries of two or more digits, which a rule could write with ten
};

// `vocabulary`: the text of each entry, a blank as U+2581 or as U+0020.
[[nodiscard]] DuplicateReport measure_duplicates(const std::vector<std::string>& vocabulary);

}  // namespace verbatim
