#include "pretrained/tensors_taken.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "model/tensor_io.h"

namespace verbatim {

at::Tensor TensorsTaken::take(const std::string& name, at::IntArrayRef shape) {
  const auto found = weights_.tensors().find(name);
  if (found == weights_.tensors().end()) {
    throw_input("{}: tensor \"{}\" is missing, which config.json asks for", weights_.file(), name);
  }
  if (found->second.shape != shape.vec()) {
    throw_input("{}: tensor \"{}\" has shape [{}], config.json asks for [{}]", weights_.file(), name,
                fmt::join(found->second.shape, ", "), fmt::join(shape.vec(), ", "));
  }
  used_.insert(name);
  return tensor_from_view(found->second, name);
}

void TensorsTaken::refuse_others(const std::set<std::string>& may_be_there) const {
  for (const auto& [name, view] : weights_.tensors()) {
    if (!used_.contains(name) && !may_be_there.contains(name)) {
      throw_input("{}: tensor \"{}\" has no place in a model of this config.json", weights_.file(), name);
    }
  }
}

bool take_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

std::string take_number(std::string& name) {
  std::string number = name.substr(0, name.find('.') + 1);
  take_prefix(name, number);
  return number;
}

}  // namespace verbatim
