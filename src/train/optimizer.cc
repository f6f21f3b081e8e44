#include "train/optimizer.h"

#include <algorithm>

#include "base/error.h"
#include "nn/torch.h"

namespace verbatim {

Optimizer::Optimizer(torch::nn::Module& module, OptimSettings settings, const LearningRateFactor& factor)
    : settings_(std::move(settings)) {
  for (auto& parameter : module.named_parameters()) {
    const at::Tensor& weight = parameter.value();
    const bool table = parameter.key().starts_with("encoder.");
    // Decays of state-space layers are exponents, not weights (Mamba, arXiv 2312.00752, section 3.6).
    const bool decays = weight.dim() >= 2 && !table && !parameter.key().ends_with(".A_log");
    names_.push_back(parameter.key());
    parameters_.push_back(weight);
    // Gradients live for the whole run: backward adds into the same memory.
    weight.mutable_grad() = at::zeros_like(weight);
    tensors_.push_back({.weight = weight.detach(),
                        .gradient = weight.grad(),
                        .first_moment = at::zeros_like(weight).detach(),
                        .second_moment = at::zeros_like(weight).detach(),
                        .weight_decay = decays ? settings_.weight_decay : 0,
                        .learning_rate_factor = factor ? factor(parameter.key()) : 1});
  }
}

double Optimizer::gradient_norm(double scale) const {
  std::vector<at::Tensor> gradients;
  for (const nn::AdamWTensor& tensor : tensors_) gradients.push_back(tensor.gradient);
  return nn::global_norm(gradients) * scale;
}

void Optimizer::step(double learning_rate, double scale, double norm) {
  const double clipped = settings_.clip > 0 && norm > settings_.clip ? scale * settings_.clip / norm : scale;
  ++steps_;
  nn::adamw_update(tensors_, {.learning_rate = learning_rate,
                              .beta1 = settings_.beta1,
                              .beta2 = settings_.beta2,
                              .epsilon = settings_.epsilon,
                              .gradient_scale = clipped,
                              .step = steps_});
}

void Optimizer::clear_gradients() {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    // Autograd may have put another tensor in place of ours.
    at::Tensor& gradient = parameters_[i].mutable_grad();
    if (!gradient.is_same(tensors_[i].gradient)) gradient = tensors_[i].gradient;
    gradient.zero_();
  }
}

void Optimizer::save(TensorBundle& bundle) const {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    bundle.add("first." + names_[i], tensors_[i].first_moment);
    bundle.add("second." + names_[i], tensors_[i].second_moment);
  }
}

void Optimizer::load(const SafetensorsReader& reader, const std::string& file,
                     const std::set<std::string>& new_parameters) {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (new_parameters.contains(names_[i])) continue;
    for (const auto& [prefix, moment] : {std::pair<std::string, at::Tensor>("first.", tensors_[i].first_moment),
                                         {"second.", tensors_[i].second_moment}}) {
      const std::string name = prefix + names_[i];
      if (!reader.contains(name))
        throw_input("{}: tensor \"{}\" is missing; the checkpoint is of another model", file, name);
      const at::Tensor value = tensor_from_view(reader.tensor(name), name);
      if (value.sizes() != moment.sizes()) {
        throw_input("{}: tensor \"{}\" has shape [{}], expected [{}]", file, name, fmt::join(value.sizes(), ", "),
                    fmt::join(moment.sizes(), ", "));
      }
      moment.copy_(value);
    }
  }
}

int64_t Optimizer::state_bytes() const {
  int64_t total = 0;
  for (const nn::AdamWTensor& tensor : tensors_) total += tensor.first_moment.nbytes() + tensor.second_moment.nbytes();
  return total;
}

}  // namespace verbatim
