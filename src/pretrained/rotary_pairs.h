#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

// Rotary positions turn pairs of columns of each head. Here the pairs are halves, (i, i + d/2); checkpoints with other
// pairs get the rows of their queries and keys reordered, which changes no result. rows [H d, ...]; gains of heads [d]
// are one head.
namespace verbatim {

// From and to neighbours, (2i, 2i + 1).
[[nodiscard]] at::Tensor neighbours_to_halves(const at::Tensor& rows, int64_t heads);
[[nodiscard]] at::Tensor halves_to_neighbours(const at::Tensor& rows, int64_t heads);

// From halves of the first `turning` columns of each head, (i, i + turning/2), the others standing still, to halves of
// the whole head of which the first turning/2 pairs turn. 0: all turn, nothing changes.
[[nodiscard]] at::Tensor partial_to_halves(const at::Tensor& rows, int64_t heads, int64_t turning);

}  // namespace verbatim
