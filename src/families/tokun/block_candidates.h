#pragma once

#include <cstdint>
#include <vector>

#include "families/tokun/block_network.h"

// What a decoder holds likely, character by character, for searches that let the encoder decide.
namespace verbatim {

using Units = std::vector<int32_t>;

// Units of blocks [N, T] uint8. What has no vector, because it is neither a code point nor an escape, becomes U+FFFD.
[[nodiscard]] Units units_of_blocks(const at::Tensor& bytes_NT);
// Blocks of `characters` units each, padding among them.
[[nodiscard]] PositionBatch batch_of_units(Units units, size_t characters);
// Writes the bytes of one block.
void write_units(const Units& units, uint8_t* to);

struct Candidate {
  float score = 0;  // logarithm of a probability, as far as candidates of one place differ
  int32_t unit = 0;
};

// For each place of each block the characters that are likely there, the likeliest first.
[[nodiscard]] std::vector<std::vector<Candidate>> candidates_of_places(const BlockLogits& logits, int64_t blocks,
                                                                       int64_t block_bytes);

}  // namespace verbatim
