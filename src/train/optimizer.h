#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "model/tensor_io.h"
#include "nn/kernels/adamw.h"
#include "train/run_settings.h"

namespace verbatim {

// Of a parameter by its name: what multiplies the rate of learning.
using LearningRateFactor = std::function<double(const std::string& parameter)>;

// AdamW over a module's parameters. Matrices of layers decay; tables, norms, biases and decays of state-space layers do
// not.
class Optimizer {
 public:
  Optimizer(torch::nn::Module& module, OptimSettings settings, const LearningRateFactor& factor = {});

  // Norm of all gradients after multiplication with `scale`.
  [[nodiscard]] double gradient_norm(double scale) const;
  // One update with the gradients times `scale`, clipped to settings.clip by `norm`.
  void step(double learning_rate, double scale, double norm);
  void clear_gradients();

  [[nodiscard]] int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  void save(TensorBundle& bundle) const;
  // Throws InputError when a moment is missing or of another shape. Those of the parameters in `new_parameters` are not
  // looked for.
  void load(const SafetensorsReader& reader, const std::string& file, const std::set<std::string>& new_parameters = {});
  [[nodiscard]] int64_t state_bytes() const;

 private:
  OptimSettings settings_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<nn::AdamWTensor> tensors_;
  int64_t steps_ = 0;
};

}  // namespace verbatim
