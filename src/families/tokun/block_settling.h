#pragma once

#include "families/tokun/block_network.h"

namespace verbatim {

struct SettlingOptions {
  // What the decoder holds of a character counts so many times, where what stands beside it is not known to say. Less
  // would make nearness count twice over, as it is part of what the decoder holds; 2 was the best of 0 to 5 for Chinese
  // under noise of 0.5, and cost English under 1.0 a quarter of a percent of its characters.
  double trust = 2;
  // The blocks are those of one text, in its order: characters of the next block are beside the last ones of a block,
  // too.
  bool consecutive = false;
};

// The blocks that vectors with noise came from. The decoder proposes; then one character after the other is exchanged
// for one that the decoder held likely, too, as long as that makes the block more likely: by how far its vector is from
// the one that was given, which the encoder says exactly, and by what the decoder held of the character, which knows
// what is likely text; among known characters by what those beside it make likely there instead, where the decoder says
// that (decoder.context). Then, where the vectors of blocks are sums, all known characters are tried, too. The noise is
// normal and the same in all numbers of a vector; how strong it is is told by the distance that is left: half the width
// times the logarithm of its square is what counts.
//
// z [N, L]; proposed [N, T] uint8 on the CPU: what `decoder` makes most likely; returns [N, T] uint8. Vectors without
// noise are for check_blocks.
[[nodiscard]] at::Tensor settle_blocks(BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder,
                                       const at::Tensor& z_NL, const at::Tensor& proposed_NT, at::ScalarType type,
                                       const SettlingOptions& options = {});

}  // namespace verbatim
