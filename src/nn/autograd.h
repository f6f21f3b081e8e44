#pragma once

// What kernels with a backward of their own need of LibTorch besides nn/torch.h, and what computes gradients at will.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/torch.h"
