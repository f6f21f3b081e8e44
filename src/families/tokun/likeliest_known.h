#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "families/tokun/block_candidates.h"
#include "families/tokun/block_network.h"

namespace verbatim {

// Which known characters make blocks likely, whatever a decoder holds of them: all are tried in every place, the other
// characters as they are. For encoders whose blocks add up. N blocks, P places, L the width of vectors.
class LikeliestKnown {
 public:
  // Products compute in `type`: what is nearly as likely may come out in its place.
  LikeliestKnown(BlockEncoderNetwork& encoder, at::ScalarType type) : encoder_(encoder), type_(type) {}
  // Their rows, [N, P] int64 on the CPU. z [N, L]: the vectors that are to be met; units: of the blocks as they are;
  // logarithms [N, P, K] float32: of how likely each character is in its place, by anything but its vector.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& z_NL, Units units, const at::Tensor& logarithms_NPK);

 private:
  BlockEncoderNetwork& encoder_;
  at::ScalarType type_;
  // What the known characters add in one place, and the squares of their lengths.
  struct Parts {
    at::Tensor parts_KL, square_K;
  };
  std::vector<Parts> parts_;  // of each place, when first needed
};

}  // namespace verbatim
