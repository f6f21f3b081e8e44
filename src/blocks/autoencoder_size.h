#pragma once

#include <cstdint>
#include <vector>

#include "blocks/chain.h"

// What a tokun autoencoder costs, from its shapes alone (specification, sections 3.5 and 3.6). E: width, G: a factor of
// the chain, U: outputs for each byte.
namespace verbatim {

struct AutoencoderShape {
  Chain chain = {{4, 4, 4}};
  uint32_t width = 256;        // E
  uint32_t outputs = 256;      // U: 256 for a softmax over the values of a byte, 8 for its bits
  bool normalize = true;       // a LayerNorm in each block,
  bool normalize_gain = true;  // with gain and offset (without from August 2024 on)
  bool place_table = true;     // a learned row for each place in a group (until June 2024)
};

// One block on each side: G vectors of E to one, and back.
struct BlockParameters {
  uint32_t factor = 0;
  uint64_t encoder = 0;  // dense G*E*E + E, places G*E, norm 2E
  uint64_t decoder = 0;  // dense E*G*E + G*E, places G*E, norm 2E
};

struct AutoencoderParameters {
  std::vector<BlockParameters> blocks;  // in the order of the chain
  uint64_t table = 0;                   // of the 256 byte values: 256*E
  uint64_t head = 0;                    // E*U + U
  [[nodiscard]] uint64_t encoder() const;
  [[nodiscard]] uint64_t decoder() const;
  [[nodiscard]] uint64_t total() const { return encoder() + decoder(); }
};

// Throws InputError for chains that cannot be, and for a width or a number of outputs of 0 or beyond 2^16.
[[nodiscard]] AutoencoderParameters count_parameters(const AutoencoderShape& shape);

// Which way the decoder walks through the factors. The number of parameters is the same.
enum class DecoderOrder : uint8_t {
  kMirrored,      // back the way the encoder came
  kAsTheEncoder,  // the same factors again, as first published: 4x16 then has no vector for one character
};

// Multiplications (each with its addition) for one block of T bytes. Dense layers only: tables, norms and the published
// attention, which has no weights, are left out.
struct AutoencoderCost {
  uint64_t encoder = 0;
  uint64_t decoder = 0;  // without the head
  uint64_t head = 0;     // on every byte, also on those that are always 0
  [[nodiscard]] uint64_t total() const { return encoder + decoder + head; }
};
[[nodiscard]] AutoencoderCost count_multiplications(const AutoencoderShape& shape,
                                                    DecoderOrder order = DecoderOrder::kMirrored);

}  // namespace verbatim
