#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace verbatim {

// How likely characters are mistaken for one another by what they add to the vector of their block, parts [K, L], when
// noise of `deviation` is added to all its numbers, whose mean square is 1: a number, the average over the rows row_S
// (int64, -1 is not allowed) of
//
//   ln(1 + sum over all others of e^(kOdds / 2 - d^2 / (8 deviation^2)))
//
// the sum of what bounds each single mistake (Chernoff), where the other one is likelier by kOdds nats beforehand. d is
// the distance between the two in a block of `places` characters that are as long as the one of the row.
[[nodiscard]] at::Tensor confusion_of_parts(const at::Tensor& parts_KL, const at::Tensor& row_S, int64_t places,
                                            double deviation, at::ScalarType type);

}  // namespace verbatim
