#pragma once

#include <cstdint>
#include <vector>

#include "nn/torch.h"

namespace verbatim {

// Numbers of rows as a tensor [values.size()] of int64, for nn::gather_rows and index_select.
inline at::Tensor index_tensor(const std::vector<int64_t>& values, const at::Device& device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace verbatim
