#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

// A second device for tests, on any machine. Its tensors lie in memory that only LibTorch's operators can reach, as on
// a GPU: reading through their pointers ends the program, and an operator that is given tensors of both devices throws
// (those without dimensions excepted). The operators themselves are computed on the CPU, with the same bits as there.
// Runs whatever tests the device of tensors: model->to(testing::other_device()).
namespace verbatim::testing {

[[nodiscard]] at::Device other_device();

}  // namespace verbatim::testing
