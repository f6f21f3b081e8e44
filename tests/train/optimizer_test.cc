#include "train/optimizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/language_model.h"
#include "nn/torch.h"
#include "train/training_run.h"

namespace verbatim {
namespace {

struct OneMatrix : torch::nn::Module {
  explicit OneMatrix(const at::Tensor& value) { matrix = register_parameter("matrix", value.clone()); }
  at::Tensor matrix;
};

void set_gradient(const at::Tensor& parameter, const at::Tensor& gradient) {
  torch::NoGradGuard no_grad;
  parameter.mutable_grad().copy_(gradient);
}

OptimSettings plain_settings() {
  OptimSettings settings;
  settings.beta1 = 0.9;
  settings.beta2 = 0.95;
  settings.epsilon = 1e-20;
  settings.weight_decay = 0.1;
  settings.clip = 0;
  return settings;
}

float first_moment(const Optimizer& optimizer, const std::string& name, size_t index) {
  TensorBundle bundle;
  optimizer.save(bundle);
  float value = 0;
  std::memcpy(&value, bundle.views().at("first." + name).bytes.data() + index * sizeof(float), sizeof(float));
  return value;
}

// Worked out on paper from Loshchilov and Hutter 2019, algorithm 2.
TEST(optimizer, two_updates_are_those_of_adamw) {
  OneMatrix module(at::ones({1, 1}));
  Optimizer optimizer(module, plain_settings());
  set_gradient(module.matrix, at::full({1, 1}, 2.0));
  optimizer.step(/*learning_rate=*/0.1, /*scale=*/1, /*norm=*/2);
  EXPECT_NEAR(module.matrix.item<double>(), 1 * 0.99 - 0.1, 1e-6);
  set_gradient(module.matrix, at::full({1, 1}, -1.0));
  optimizer.step(0.1, 1, 1);
  // m = 0.08, v = 0.24, corrections 0.19 and 0.0975
  EXPECT_NEAR(module.matrix.item<double>(), 0.89 * 0.99 - 0.1 * 0.26836947, 1e-6);
  EXPECT_EQ(optimizer.steps(), 2);
}

TEST(optimizer, clips_all_gradients_together) {
  OneMatrix module(at::zeros({1, 2}));
  OptimSettings settings = plain_settings();
  settings.clip = 1;
  Optimizer optimizer(module, settings);
  set_gradient(module.matrix, at::tensor({3.0f, 4.0f}).unsqueeze(0));
  const double norm = optimizer.gradient_norm(/*scale=*/0.5);
  EXPECT_NEAR(norm, 2.5, 1e-6);
  optimizer.step(0.1, 0.5, norm);
  EXPECT_NEAR(first_moment(optimizer, "matrix", 0), 0.1 * 0.6, 1e-6);
  EXPECT_NEAR(first_moment(optimizer, "matrix", 1), 0.1 * 0.8, 1e-6);
}

TEST(optimizer, leaves_small_gradients_unclipped) {
  OneMatrix module(at::zeros({1, 2}));
  OptimSettings settings = plain_settings();
  settings.clip = 1;
  Optimizer optimizer(module, settings);
  set_gradient(module.matrix, at::tensor({0.3f, 0.4f}).unsqueeze(0));
  optimizer.step(0.1, 1, optimizer.gradient_norm(1));
  EXPECT_NEAR(first_moment(optimizer, "matrix", 1), 0.1 * 0.4, 1e-6);
}

// With zero gradients an update is decay alone.
TEST(optimizer, decays_matrices_of_layers_and_nothing_else) {
  const auto settings = testing::make_settings(testing::kPatchModel);
  const auto model = LanguageModel::create(settings->model, 1, ".");
  OptimSettings optim = plain_settings();
  optim.weight_decay = 0.5;
  std::map<std::string, at::Tensor> before;
  for (const auto& parameter : model->named_parameters()) {
    before[parameter.key()] = parameter.value().detach().clone();
  }
  Optimizer optimizer(*model, optim);
  optimizer.step(/*learning_rate=*/0.1, 1, 0);
  std::vector<std::string> kept, decayed;
  for (const auto& parameter : model->named_parameters()) {
    const at::Tensor& old = before.at(parameter.key());
    if (at::equal(parameter.value(), old)) {
      kept.push_back(parameter.key());
    } else {
      EXPECT_TRUE(at::allclose(parameter.value(), old * 0.95)) << parameter.key();
      decayed.push_back(parameter.key());
    }
  }
  const auto any = [](const std::vector<std::string>& names, std::string_view part) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return name.find(part) != std::string::npos; });
  };
  for (const char* name : {"encoder.", "norm"}) {
    EXPECT_TRUE(any(kept, name)) << name;
    EXPECT_FALSE(any(decayed, name)) << name;
  }
  for (const char* name : {"q_proj", "down_proj", "decoder.head"}) {
    EXPECT_TRUE(any(decayed, name)) << name;
    EXPECT_FALSE(any(kept, name)) << name;
  }
}

TEST(optimizer, clear_gradients_takes_back_tensors_that_autograd_put_in_place) {
  OneMatrix module(at::ones({1, 2}));
  Optimizer optimizer(module, plain_settings());
  module.matrix.mutable_grad() = at::full({1, 2}, 7.0);
  optimizer.clear_gradients();
  (module.matrix * at::tensor({3.0f, 4.0f}).unsqueeze(0)).sum().backward();
  EXPECT_NEAR(optimizer.gradient_norm(1), 5, 1e-6);
}

TEST(optimizer, refuses_moments_of_another_model) {
  const testing::ScratchFolder folder;
  OneMatrix wide(at::zeros({2, 3})), narrow(at::zeros({2, 2}));
  TensorBundle bundle;
  Optimizer(wide, plain_settings()).save(bundle);
  write_safetensors(folder / "moments.safetensors", bundle.views());
  Optimizer optimizer(narrow, plain_settings());
  EXPECT_THROW(optimizer.load(SafetensorsReader::open(folder / "moments.safetensors"), "moments"), InputError);
}

}  // namespace
}  // namespace verbatim
