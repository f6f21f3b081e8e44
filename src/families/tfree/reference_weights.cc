#include "families/tfree/reference_weights.h"

#include <cmath>
#include <string>

#include "model/weights.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

double deviation_of(const std::string& name, const at::Tensor& weight, const ReferenceWeights& options) {
  const auto width = static_cast<double>(options.width);
  if (options.scheme == "xavier") return std::sqrt(2 / static_cast<double>(weight.size(0) + weight.size(1)));
  if (options.scheme == "normal") return options.gain / std::sqrt(width);
  const bool adds_to_the_stream =
      name.find("o_proj.") != std::string::npos || name.find("down_proj.") != std::string::npos;
  return adds_to_the_stream ? 2 / (static_cast<double>(options.layers) * std::sqrt(width)) : std::sqrt(2 / (5 * width));
}

bool is_of_the_reference(const std::string& name) {
  return !name.starts_with("calibration.") && !name.starts_with("escape.") && name.find("norm.") == std::string::npos;
}

}  // namespace

void draw_reference_weights(torch::nn::Module& module, const ReferenceWeights& options, at::Generator& generator) {
  if (ShapesOnly::active()) return;
  const torch::NoGradGuard no_grad;
  const auto parameters = module.named_parameters();
  for (const auto& parameter : parameters) {
    const std::string& name = parameter.key();
    at::Tensor values = parameter.value();
    if (!is_of_the_reference(name)) continue;
    if (name.ends_with(".bias")) {
      const at::Tensor& weight = parameters[name.substr(0, name.size() - 4) + "weight"];
      const double bound = 1 / std::sqrt(static_cast<double>(weight.size(1)));
      values.uniform_(-bound, bound, generator);
    } else {
      values.normal_(0, deviation_of(name, values, options), generator);
    }
  }
}

}  // namespace verbatim
