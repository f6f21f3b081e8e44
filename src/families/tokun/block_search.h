#pragma once

#include <functional>
#include <vector>

#include "families/tokun/block_network.h"

namespace verbatim {

// The blocks that vectors came from. The decoder proposes, the encoder checks: a block is confirmed when its vector is
// the one that was given. Where the most likely block is not, one character after the other is exchanged for one that
// the decoder held likely, too, until the vector is the same or no exchange brings it nearer.
//
// For vectors that are exact, or nearly so. With noise the nearest block is not the most likely one; such vectors are
// not confirmed and keep what the decoder said, after a search that costs some thousand encodings each.
struct CheckedBlocks {
  at::Tensor bytes_NT;          // [N, T] uint8, as they were proposed or as they were found
  std::vector<bool> confirmed;  // [N]
};
// z [N, L]; proposed [N, T] uint8 on the CPU: what `decoder` makes most likely. Both networks are those of one
// autoencoder; `type` is what the vectors were computed in. `goes_on` is asked before each search: where the decoder is
// poor, or vectors are not exact, they would take hours.
[[nodiscard]] CheckedBlocks check_blocks(
    BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder, const at::Tensor& z_NL, const at::Tensor& proposed_NT,
    at::ScalarType type, const std::function<bool()>& goes_on = [] { return true; });

}  // namespace verbatim
