#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "blocks/blocks.h"

// How much of a text an autoencoder gives back.
namespace verbatim {

// Counts that add up over batches.
struct Share {
  uint64_t right = 0;
  uint64_t all = 0;
  // 0 where there is nothing to be right about.
  [[nodiscard]] double value() const { return all == 0 ? 0 : static_cast<double>(right) / static_cast<double>(all); }
  Share& operator+=(const Share& other);
};

// As published: groups of `group` bytes of which all are equal. 1: bytes, 4: characters, T: blocks ("tokens"). Padding
// counts, so the figures of short texts flatter. Both streams have the same size, a multiple of `group`.
[[nodiscard]] Share group_accuracy(std::string_view target, std::string_view predicted, size_t group);

// The same without padding: only bytes that come from the text count.
struct Reconstruction {
  Share byte;
  Share character;  // all four bytes
  Share block;      // all bytes of the block that are not padding
  // What a model that always says 0 gets: bytes are 0 in half to three quarters of all text, so a byte accuracy means
  // little without this beside it (characters: those that are U+0000).
  Share zero_byte;
  Share zero_character;
  Reconstruction& operator+=(const Reconstruction& other);
};
// `predicted`: bytes in the place of target.bytes. `target` is not shifted.
[[nodiscard]] Reconstruction measure_reconstruction(const Blocks& target, std::string_view predicted);

// As published: equal characters at equal places, divided by the length of the target. One character too many in front
// ruins it, characters behind the end cost nothing. 0 for an empty target.
[[nodiscard]] double text_score(std::u32string_view target, std::u32string_view predicted);
// As published: the different characters that both texts have, divided by the smaller number of different characters.
[[nodiscard]] double overlap_score(std::u32string_view a, std::u32string_view b);

}  // namespace verbatim
