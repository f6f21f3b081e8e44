#include "pretrained/rotary_pairs.h"

#include <vector>

#include "nn/torch.h"

namespace verbatim {

namespace {

// Rows as [heads, a, b, ...], the two middle dimensions swapped.
at::Tensor swapped(const at::Tensor& rows, int64_t heads, int64_t a, int64_t b) {
  const std::vector<int64_t> shape = rows.sizes().vec();
  std::vector<int64_t> from{heads, a, b};
  from.insert(from.end(), shape.begin() + 1, shape.end());
  return rows.reshape(from).transpose(1, 2).reshape(shape).contiguous();
}

}  // namespace

at::Tensor neighbours_to_halves(const at::Tensor& rows, int64_t heads) {
  return swapped(rows, heads, rows.size(0) / heads / 2, 2);
}

at::Tensor halves_to_neighbours(const at::Tensor& rows, int64_t heads) {
  return swapped(rows, heads, 2, rows.size(0) / heads / 2);
}

at::Tensor partial_to_halves(const at::Tensor& rows, int64_t heads, int64_t turning) {
  const int64_t d = rows.size(0) / heads, half = d / 2;
  if (turning == 0 || turning == d) return rows;
  std::vector<int64_t> order(static_cast<size_t>(d));
  int64_t still = turning;
  for (int64_t i = 0; i < half; ++i) {
    order[i] = i < turning / 2 ? i : still++;
    order[half + i] = i < turning / 2 ? turning / 2 + i : still++;
  }
  return rows.reshape({heads, d, rows.size(1)}).index_select(1, at::tensor(order)).reshape(rows.sizes());
}

}  // namespace verbatim
