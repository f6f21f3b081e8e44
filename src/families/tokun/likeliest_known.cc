#include "families/tokun/likeliest_known.h"

#include <ATen/ATen.h>

#include <limits>

#include "model/weights.h"

namespace verbatim {

at::Tensor LikeliestKnown::operator()(const at::Tensor& z_NL, Units units, const at::Tensor& logarithms_NPK) {
  const int64_t blocks = z_NL.size(0), places = logarithms_NPK.size(1);
  for (auto place = static_cast<int64_t>(parts_.size()); place < places; ++place) {
    at::Tensor parts_KL = encoder_.known_parts(place, type_);
    at::Tensor square_K = parts_KL.square().sum(1);
    parts_.push_back({.parts_KL = std::move(parts_KL), .square_K = std::move(square_K)});
  }
  const auto width = static_cast<double>(z_NL.size(1));
  const at::Tensor own_NPL = encoder_.parts(batch_of_units(std::move(units), static_cast<size_t>(places)));
  const at::Tensor sum_NL = own_NPL.sum(1), z_square_N1 = z_NL.square().sum(1, /*keepdim=*/true);
  at::Tensor row_NP = at::empty({blocks, places}, at::kLong);
  for (int64_t place = 0; place < places; ++place) {
    const Parts& parts = parts_[static_cast<size_t>(place)];
    const LinearWeights products{.weight_ED = parts.parts_KL, .bias_E = {}};
    const at::Tensor rest_NL = sum_NL - own_NPL.select(1, place);
    const at::Tensor with = products(at::cat({z_NL, rest_NL}).to(type_)).to(at::kFloat);
    // |z - s / r|^2 for the sum s with each character, r the root of its mean square.
    const at::Tensor mean_NK =
        with.slice(0, blocks).mul_(2).add_(rest_NL.square().sum(1, /*keepdim=*/true)).add_(parts.square_K).div_(width);
    const at::Tensor agreement_NK = with.slice(0, 0, blocks).add_((z_NL * rest_NL).sum(1, /*keepdim=*/true));
    const at::Tensor square_NK = mean_NK.rsqrt_().mul_(agreement_NK).mul_(-2).add_(z_square_N1 + width);
    const at::Tensor score_NK = square_NK.clamp_min_(std::numeric_limits<float>::min()).log_().mul_(-width / 2);
    row_NP.select(1, place).copy_(score_NK.add_(logarithms_NPK.select(1, place).to(z_NL.device())).argmax(1));
  }
  return row_NP;
}

}  // namespace verbatim
