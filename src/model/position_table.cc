#include "model/position_table.h"

#include <cmath>

#include "base/error.h"
#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

PositionTable::PositionTable(torch::nn::Module& owner, const std::string& name, int64_t positions, int64_t width,
                             at::Generator& generator)
    : name_(name) {
  if (positions == 0) return;
  const double deviation = 1 / std::sqrt(static_cast<double>(width));
  weight_PD_ = add_linear(owner, name, initial_weight(positions, width, deviation, generator)).weight_ED;
}

void PositionTable::check(int64_t rows) const {
  if (!defined() || rows <= weight_PD_.size(0)) return;
  throw_input(
      "a sequence has {} rows or more, the model's table \"{}\" holds {} positions; use shorter texts or windows "
      "(data.window_bytes in training), or train a model with more positions",
      rows, name_, weight_PD_.size(0));
}

at::Tensor PositionTable::add(const at::Tensor& x_ND, const nn::Sequences& sequences) const {
  if (!defined()) return x_ND;
  check(sequences.longest());
  const at::Tensor position_N = at::empty({sequences.rows()}, at::kLong);
  auto* position = position_N.data_ptr<int64_t>();
  for (int64_t s = 0; s < sequences.count(); ++s) {
    for (int64_t row = sequences.offsets[s]; row < sequences.offsets[s + 1]; ++row)
      position[row] = row - sequences.offsets[s];
  }
  return x_ND + nn::gather_rows(weight_PD_, position_N.to(x_ND.device()));
}

void PositionTable::add_row(float* x_D, int64_t position) const {
  if (!defined()) return;
  check(position + 1);
  nn::add_rows(x_D, weight_PD_.data_ptr<float>() + position * weight_PD_.size(1), weight_PD_.size(1));
}

}  // namespace verbatim
