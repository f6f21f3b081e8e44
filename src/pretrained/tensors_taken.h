#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <string_view>

#include "pretrained/checkpoint_weights.h"

namespace verbatim {

// Takes the tensors of a checkpoint one by one, under the names of the reference.
class TensorsTaken {
 public:
  explicit TensorsTaken(const CheckpointWeights& weights) : weights_(weights) {}

  [[nodiscard]] bool contains(const std::string& name) const { return weights_.tensors().contains(name); }
  // Throws InputError when there is none, or one of another shape.
  [[nodiscard]] at::Tensor take(const std::string& name, at::IntArrayRef shape);
  // Throws InputError for a tensor that was not taken.
  void refuse_others(const std::set<std::string>& may_be_there) const;

 private:
  const CheckpointWeights& weights_;
  std::set<std::string> used_;
};

// Removes the prefix of a name; false where it has another one.
bool take_prefix(std::string& name, std::string_view prefix);
// Removes "N." from the front of a name and returns it.
std::string take_number(std::string& name);

}  // namespace verbatim
