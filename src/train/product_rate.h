#pragma once

#include <ATen/core/Tensor.h>

namespace verbatim {

// Floating point operations per second of products of large square matrices, the best of several within about
// `seconds` (at least three): what limits training on this machine. `type` is that of the activations.
[[nodiscard]] double measure_product_rate(at::ScalarType type, const at::Device& device, double seconds);

}  // namespace verbatim
