#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>

#include "nn/sequences.h"

namespace verbatim {

// Learned absolute positions: a vector for each row of a sequence, added to it. As many rows as the table has are the
// longest sequence: a longer one is an InputError, in training and in generation.
class PositionTable {
 public:
  // Registers a module `name` with a weight [positions, width]; none where positions is 0. Weights start as large as
  // those of a table of bytes.
  PositionTable(torch::nn::Module& owner, const std::string& name, int64_t positions, int64_t width,
                at::Generator& generator);
  PositionTable() = default;

  [[nodiscard]] bool defined() const { return weight_PD_.defined(); }
  [[nodiscard]] const at::Tensor& weight() const { return weight_PD_; }
  // x + the row of each position, counted from the start of each sequence.
  [[nodiscard]] at::Tensor add(const at::Tensor& x_ND, const nn::Sequences& sequences) const;
  // The same for one row [D], float32 on the CPU.
  void add_row(float* x_D, int64_t position) const;
  // Throws InputError when a sequence of `rows` rows does not fit.
  void check(int64_t rows) const;

 private:
  std::string name_;
  at::Tensor weight_PD_;
};

}  // namespace verbatim
