#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// What the dense kernels promise about their arguments, checked once for the plain and the fast forms. Throws
// InternalError: the callers made these tensors, not the user.
namespace verbatim::nn {

// Floating point matrix.
void check_matrix(const at::Tensor& x, const char* where);

// index: int64, every value in [-1, limit). On the CPU only: looking at values on a device would stop its queue, and
// the device's own operators check them there.
void check_indices(const at::Tensor& index, int64_t limit, const char* where);

// offsets: int64 on the CPU, rising from 0 to the number of indices.
void check_bags(const at::Tensor& index_M, const at::Tensor& offsets_N1, const char* where);

void check_linear(const at::Tensor& x_ND, const at::Tensor& weight_ED, const at::Tensor& bias_E);
void check_norm(const at::Tensor& x_ND, const at::Tensor& gain_D);
void check_silu_gate(const at::Tensor& x_NF, const at::Tensor& gate_NF);
void check_cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N);
void check_offsets(const std::vector<int64_t>& offsets_K1, int64_t rows);

}  // namespace verbatim::nn
