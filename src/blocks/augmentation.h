#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/random.h"

// What an autoencoder of text is trained on besides text as it is. All of it works on units (utf32.h: to_units), takes
// an explicit generator and nothing else: the same generator gives the same text.
namespace verbatim {

enum class RandomUnits : uint8_t {
  kScalarValues,  // every code point of the 17 planes but surrogates, alike often
  kPublished,     // uniform in [0, 0x40000): four planes, surrogates among them
};

[[nodiscard]] char32_t random_unit(RandomUnits which, Random& random);
void append_random_units(size_t count, RandomUnits which, Random& random, std::u32string& units);
// Text of a script that does not exist: code points of one stretch of 256 somewhere in the first two planes, where
// scripts are, with some ASCII between them, and a hundredth of bytes that belong to no character (utf32.h). Drawn from
// all of Unicode, a script's own code points hardly ever come.
void append_made_up_script(size_t count, Random& random, std::u32string& units);
// Emoji as they are written, with some ASCII between them: joined with U+200D, with skin tones and presentation
// selectors, flags of two regional letters and of tags (plane 14), keycaps, ideographs with variation selectors. At
// least `count` units: a sequence is never cut.
void append_made_up_emoji(size_t count, Random& random, std::u32string& units);

// Chances for each unit of a text, from 0 to 1; their sum is at most 1.
struct NoiseOptions {
  double replace = 0;   // becomes another one
  double insert = 0;    // gets another one in front
  double remove = 0;    // is left out
  double exchange = 0;  // changes places with the next one, which is then left alone
  double foreign =
      0.5;  // share of the other ones from outside the text, half of them anywhere, half where alphabets are
};

// Throws InputError for chances outside of 0 to 1, or with a sum above 1.
[[nodiscard]] std::u32string add_noise(std::u32string_view units, const NoiseOptions& options, Random& random);

enum class CaseChange : uint8_t { kUpper, kLower, kSwap };

// Changes letters one for one (the simple case mappings of utf8proc), each with this chance; the length stays. A letter
// whose other case takes several letters, such as U+FB01, stays as it is.
[[nodiscard]] std::u32string change_case(std::u32string_view units, CaseChange change, double chance, Random& random);

// Zeros in front, from 0 to `most`, each number alike often: every place of a text relative to the borders of fixed
// blocks, with `most` one less than the characters of a block.
[[nodiscard]] std::u32string shift_randomly(std::u32string_view units, uint32_t most, Random& random);

}  // namespace verbatim
