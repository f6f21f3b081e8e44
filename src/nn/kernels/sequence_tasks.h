#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "nn/sequences.h"

// How scans along sequences are dealt out to threads: groups of neighbouring sequences times blocks of columns. The cut
// depends on the sequences and the width alone, so that sums over tasks, added in their order, are the same bits for
// every number of threads.
namespace verbatim::nn {

struct SequenceTasks {
  std::vector<int64_t> first_sequence;  // group g: the sequences [first_sequence[g], first_sequence[g + 1])
  int64_t width = 0;
  int64_t block_width = 0;  // of all blocks but the last
  int64_t blocks = 0;

  // `widest`, `narrowest`: limits of block_width, the latter divides the former by a power of two. Blocks are as wide
  // as they can be while there are tasks enough for the threads of a large machine.
  SequenceTasks(const Sequences& sequences, int64_t width, int64_t widest, int64_t narrowest);

  [[nodiscard]] int64_t groups() const { return static_cast<int64_t>(first_sequence.size()) - 1; }
  [[nodiscard]] int64_t count() const { return groups() * blocks; }
  [[nodiscard]] int64_t group(int64_t task) const { return task / blocks; }
  [[nodiscard]] int64_t block(int64_t task) const { return task % blocks; }
  [[nodiscard]] int64_t begin(int64_t block) const { return block * block_width; }
  [[nodiscard]] int64_t end(int64_t block) const { return std::min(width, (block + 1) * block_width); }
};

// A matrix that may be a range of columns of a wider one.
template <class T>
struct Rows {
  T* data;
  int64_t stride;

  explicit Rows(const at::Tensor& x) : data(x.data_ptr<std::remove_const_t<T>>()), stride(x.stride(0)) {}
  [[nodiscard]] T* row(int64_t n) const { return data + n * stride; }
};

// Sums over the first dimension, in its order whatever the number of threads. partial float32, contiguous.
[[nodiscard]] at::Tensor sum_in_order(const at::Tensor& partial);

// `x` itself when Rows can read it.
[[nodiscard]] inline at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.size(1) == 1 || x.stride(1) == 1 ? x : x.contiguous();
}

}  // namespace verbatim::nn
