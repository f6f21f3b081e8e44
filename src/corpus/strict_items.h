#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/aligned_index.h"
#include "corpus/instruct.h"

// Training sequences over words as T-Free's reference puts them together (specification, sections 3 and 7.3).

namespace verbatim {

// Cuts a text into words; WordSplitter with SplitOptions::strict() is the reference's.
using SplitText = std::function<std::vector<std::string>(std::string_view text)>;

struct StrictItemOptions {
  uint64_t length = 4096;                     // L: positions of an item
  bool reset_positions = false;               // positions start at 0 again with every text
  std::string end_of_text = "<|endoftext|>";  // the word that ends a text
};

// One sequence of L positions. Behind words.size() positions it is padding: no word, weight 0, marked as end.
struct StrictItem {
  struct Position {
    std::string input;   // the word that is read
    std::string target;  // the word that is learnt
  };
  std::vector<Position> words;         // at most L
  std::vector<float> weights;          // [L] of the target
  std::vector<uint8_t> target_is_end;  // [L] 1: the target is end_of_text, or padding
  std::vector<int32_t> positions;      // [L]; 0 to L-1 whenever there is padding, as in the reference
};

// Item `index` of pre-training: entries of the index in the order of `permutation` (of its reference_entry_count()),
// from place `index` on, until L positions are filled. As in the reference the next place is `index` plus the number of
// TEXTS taken so far, so that filling jumps over entries; it goes round at the end. Every text is stripped at both ends
// behind which end_of_text has been put. Throws InputError for a text of fewer than two words.
[[nodiscard]] StrictItem pretraining_item(const AlignedIndex& entries, std::span<const uint32_t> permutation,
                                          uint64_t index, const SplitText& split, const StrictItemOptions& options);

// A conversation as one sequence: each piece is stripped and split by itself, the words are joined, and the loss of a
// target word is that of its piece. Cut or padded to L. Throws InputError, which begins with `where`, for fewer than
// two words.
[[nodiscard]] StrictItem instruct_item(const InstructDocument& document, const SplitText& split,
                                       const StrictItemOptions& options, std::string_view where);

// Boundaries of what may attend to each other in a batch laid flat, as the varlen form of attention takes them: the
// first position of every item, with `reset_attention` also every position behind an end, and at last the number of
// all positions.
[[nodiscard]] std::vector<int64_t> segment_boundaries(std::span<const StrictItem> items, bool reset_attention);

// Without the white space at both ends: what Python's str.strip() removes.
[[nodiscard]] std::string_view strip_text(std::string_view text);

}  // namespace verbatim
