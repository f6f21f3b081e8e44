#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "formats/safetensors.h"

namespace verbatim {

// Views of tensors for the safetensors writer; the tensors must stay alive and contiguous on the CPU.
class TensorBundle {
 public:
  void add(const std::string& name, const at::Tensor& tensor);
  [[nodiscard]] const std::map<std::string, TensorView>& views() const { return views_; }

 private:
  std::map<std::string, TensorView> views_;
  std::vector<at::Tensor> owned_;
};

// A copy of a stored tensor as float32 (F32, F16, BF16, F64) or int64 (integers). Throws InputError for other types.
[[nodiscard]] at::Tensor tensor_from_view(const TensorView& view, const std::string& name);

// Copies stored values into a module's parameters. `file_name` maps a parameter's name to its name in the file. Throws
// InputError naming the file for tensors that are missing, left over or of another shape. Parameters in
// `may_be_missing` keep their values when the file does not have them; returns their names.
std::vector<std::string> load_parameters(torch::nn::Module& module, const SafetensorsReader& reader,
                                         const std::string& file,
                                         const std::function<std::string(const std::string&)>& file_name,
                                         const std::set<std::string>& may_be_missing = {});

}  // namespace verbatim
