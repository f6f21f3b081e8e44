#include "nn/kernels/sequence_tasks.h"

#include <ATen/ATen.h>

#include "nn/kernels/cpu_common.h"

namespace verbatim::nn {

namespace {

constexpr int64_t kMostGroups = 32;
constexpr int64_t kFewestRows = 64;  // of a group, where there are several
constexpr int64_t kEnoughTasks = 8;

}  // namespace

SequenceTasks::SequenceTasks(const Sequences& sequences, int64_t width, int64_t widest, int64_t narrowest)
    : first_sequence{0}, width(width), block_width(widest) {
  const int64_t rows_per_group = std::max(kFewestRows, (sequences.rows() + kMostGroups - 1) / kMostGroups);
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const int64_t rows = sequences.offsets[s + 1] - sequences.offsets[first_sequence.back()];
    if (rows >= rows_per_group || s + 1 == sequences.count()) first_sequence.push_back(s + 1);
  }
  const auto blocks_of = [&](int64_t columns) { return (width + columns - 1) / columns; };
  while (block_width > narrowest && groups() * blocks_of(block_width) < kEnoughTasks) block_width /= 2;
  blocks = blocks_of(block_width);
}

at::Tensor sum_in_order(const at::Tensor& partial) {
  at::Tensor total = at::zeros(partial.sizes().slice(1), partial.options());
  const int64_t count = total.numel(), parts = partial.size(0);
  const float* from = partial.data_ptr<float>();
  float* to = total.data_ptr<float>();
  for_rows(count, parts, [&](int64_t begin, int64_t end) {
    for (int64_t part = 0; part < parts; ++part) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[part * count + i];
    }
  });
  return total;
}

}  // namespace verbatim::nn
