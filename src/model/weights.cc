#include "model/weights.h"

#include "base/error.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

namespace {
thread_local int shapes_only_depth = 0;
}

ShapesOnly::ShapesOnly() { ++shapes_only_depth; }
ShapesOnly::~ShapesOnly() { --shapes_only_depth; }
bool ShapesOnly::active() { return shapes_only_depth > 0; }

at::Tensor initial_weight(int64_t out, int64_t in, double deviation, at::Generator& generator) {
  if (ShapesOnly::active()) return at::empty({out, in}, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  at::Tensor weight = at::empty({out, in}, at::kFloat);
  weight.normal_(0.0, deviation, generator);
  return weight.clamp_(-3 * deviation, 3 * deviation);
}

at::Tensor initial_uniform(at::IntArrayRef shape, double low, double high, at::Generator& generator) {
  if (ShapesOnly::active()) return at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  return at::empty(shape, at::kFloat).uniform_(low, high, generator);
}

NormKind norm_kind(std::string_view name) {
  if (name == "layer") return NormKind::kLayer;
  if (name == "layer_unshifted") return NormKind::kLayerUnshifted;
  if (name == "deviation") return NormKind::kDeviation;
  VERBATIM_ASSERT(name == "rms", "norm \"{}\"", name);
  return NormKind::kRms;
}

at::Tensor Norm::operator()(const at::Tensor& x_ND, at::ScalarType type) const {
  switch (kind) {
    case NormKind::kRms:
      return nn::rms_norm(x_ND, gain_D, epsilon, type);
    case NormKind::kDeviation:
      return (x_ND * (x_ND.var(1, /*unbiased=*/false, /*keepdim=*/true) + epsilon).rsqrt() * gain_D).to(type);
    case NormKind::kLayer:
    case NormKind::kLayerUnshifted:
      break;
  }
  return at::layer_norm(x_ND, {x_ND.size(1)}, gain_D, shift_D, epsilon).to(type);
}

std::pair<at::Tensor, at::Tensor> Norm::add(const at::Tensor& x_ND, const at::Tensor& delta_ND,
                                            at::ScalarType type) const {
  if (kind == NormKind::kRms) return nn::add_rms_norm(x_ND, delta_ND, gain_D, epsilon, type);
  const at::Tensor sum_ND = x_ND + delta_ND.to(x_ND.scalar_type());
  return {sum_ND, (*this)(sum_ND, type)};
}

void Norm::rows(const float* x_RD, float* y_RD, int64_t count) const {
  const int64_t width = gain_D.numel();
  const float* gain = gain_D.data_ptr<float>();
  if (kind == NormKind::kRms) {
    nn::rms_norm_rows(x_RD, gain, y_RD, count, width, epsilon);
  } else if (kind == NormKind::kDeviation) {
    nn::deviation_norm_rows(x_RD, gain, y_RD, count, width, epsilon);
  } else {
    nn::layer_norm_rows(x_RD, gain, shift_D.defined() ? shift_D.data_ptr<float>() : nullptr, y_RD, count, width,
                        epsilon);
  }
}

at::Tensor LinearWeights::operator()(const at::Tensor& x_ND) const { return nn::linear(x_ND, weight_ED, bias_E); }

void LinearWeights::rows(const float* x_RD, float* y_RE, int64_t count) const {
  const int64_t out = weight_ED.size(0);
  nn::multiply_rows(x_RD, weight_ED.data_ptr<float>(), y_RE, count, weight_ED.size(1), out);
  if (!bias_E.defined()) return;
  for (int64_t r = 0; r < count; ++r) nn::add_rows(y_RE + r * out, bias_E.data_ptr<float>(), out);
}

LinearWeights joined(std::initializer_list<const LinearWeights*> parts) {
  std::vector<at::Tensor> weights, biases;
  for (const LinearWeights* part : parts) {
    weights.push_back(part->weight_ED);
    if (part->bias_E.defined()) biases.push_back(part->bias_E);
  }
  return {.weight_ED = at::cat(weights), .bias_E = biases.empty() ? at::Tensor() : at::cat(biases)};
}

at::Tensor Residual::sum() const {
  return delta_ND.defined() ? stream_ND + delta_ND.to(stream_ND.scalar_type()) : stream_ND;
}

at::Tensor Residual::normed(const Norm& norm, at::ScalarType type) const {
  return delta_ND.defined() ? norm.add(stream_ND, delta_ND, type).second : norm(stream_ND, type);
}

LinearWeights add_linear(torch::nn::Module& owner, const std::string& name, at::Tensor weight, const at::Tensor& bias) {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  LinearWeights linear;
  linear.weight_ED = holder->register_parameter("weight", std::move(weight));
  if (bias.defined()) linear.bias_E = holder->register_parameter("bias", bias);
  return linear;
}

Norm add_norm(torch::nn::Module& owner, const std::string& name, int64_t width, NormKind kind, double epsilon) {
  const LinearWeights registered =
      add_linear(owner, name, at::ones({width}), kind == NormKind::kLayer ? at::zeros({width}) : at::Tensor());
  return {.gain_D = registered.weight_ED, .shift_D = registered.bias_E, .epsilon = epsilon, .kind = kind};
}

}  // namespace verbatim
