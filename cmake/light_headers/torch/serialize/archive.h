#pragma once

// Found before LibTorch's file of this name. <torch/nn/module.h> only names these two classes, but the original brings
// all of TorchScript along, a quarter of what every file would have to read and instantiate. Verbatim stores weights
// itself.
namespace torch::serialize {
class InputArchive;
class OutputArchive;
}  // namespace torch::serialize
