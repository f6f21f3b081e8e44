#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "words/dictionary.h"

namespace verbatim {

// What can follow inside a word: one of 256 bytes, or the end of the word.
inline constexpr size_t kWordEnd = 256;
inline constexpr size_t kWordSymbols = 257;

// The two bytes before a symbol, in a word with a blank in front: the first two bytes of a trigram. Before the first
// byte of a word both are blanks, which happens nowhere else.
struct WordContext {
  uint8_t first = ' ';
  uint8_t second = ' ';

  // Behind `bytes`, the beginning of a word (any bytes, may be empty).
  [[nodiscard]] static WordContext behind(std::string_view bytes) {
    if (bytes.empty()) return {};
    return {bytes.size() == 1 ? uint8_t{' '} : static_cast<uint8_t>(bytes[bytes.size() - 2]),
            static_cast<uint8_t>(bytes.back())};
  }
  [[nodiscard]] size_t number() const { return size_t{first} << 8 | second; }
  friend bool operator==(const WordContext&, const WordContext&) = default;
};

struct TrigramPriorOptions {
  // Each word counts as max(1, count) to this power. 0: every word counts once, which suits words that the dictionary
  // lacks, for those are like its rare words. 1: by occurrence.
  double count_power = 0;
};

// How often the words of a dictionary go on with each symbol behind each two bytes, smoothed, so that every symbol has
// a probability: as a filter (continuations()) and as a prior. Words that are hashed whole are left out. Read-only
// after construction; about 1 MB.
class TrigramPrior {
 public:
  explicit TrigramPrior(const Dictionary& dictionary, const TrigramPriorOptions& options = {});

  // Symbols that occur behind the context, ascending.
  [[nodiscard]] std::span<const uint16_t> continuations(WordContext context) const;
  // p(symbol | context) of all symbols, all above 0, with sum 1 up to rounding. Witten-Bell smoothing (Witten and Bell,
  // The zero-frequency problem, 1991, method C): two bytes, one byte, none, uniform.
  [[nodiscard]] std::array<double, kWordSymbols> distribution(WordContext context) const;

 private:
  // Continuations of all contexts of one length, context after context.
  struct Level {
    std::vector<uint32_t> begins;  // [contexts + 1]
    std::vector<uint16_t> symbols;
    std::vector<double> weights;
  };
  static void smooth(const Level& level, size_t context, std::array<double, kWordSymbols>& probabilities);

  std::array<Level, 3> levels_;  // by the number of bytes of the context
};

}  // namespace verbatim
