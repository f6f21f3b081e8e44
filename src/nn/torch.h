#pragma once

// What Verbatim uses of LibTorch, and what is precompiled (cmake/VerbatimDependencies.cmake): tensors and modules,
// without layers, optimisers, data loaders, profiler and TorchScript; nn/autograd.h adds gradients of our own. GCC
// instantiates the templates that a precompiled header uses anew in every file, so that its size is most of a build.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/cuda.h>
#include <torch/nn/module.h>
#include <torch/types.h>
