#pragma once

// What Verbatim uses of LibTorch, and what is precompiled (cmake/VerbatimDependencies.cmake): tensors, gradients and
// modules, without layers, optimisers, data loaders, profiler and TorchScript. GCC instantiates the templates that a
// precompiled header uses anew in every file, so that its size is most of what a build takes.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/cuda.h>
#include <torch/nn/module.h>
#include <torch/types.h>
