#include "families/tokun/published_network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "families/tokun/block_bytes.h"
#include "nn/kernels/dense.h"

namespace verbatim {

namespace {

constexpr int64_t kValues = 256;
constexpr double kEpsilon = 1e-3;

// Glorot: normal with the variance that the published uniform draw has.
double glorot(int64_t in, int64_t out) { return std::sqrt(2.0 / static_cast<double>(in + out)); }

at::Tensor activate(const at::Tensor& x, const std::string& name) {
  if (name == "relu") return at::relu(x);
  if (name == "gelu") return at::gelu(x);
  if (name == "silu") return at::silu(x);
  if (name == "sigmoid") return at::sigmoid(x);
  return at::tanh(x);
}

}  // namespace

PublishedSteps::PublishedSteps(const TokunEncoderSettings& settings)
    : activation_(settings.activation),
      width_(settings.latent),
      normalizes_(settings.normalization),
      has_gain_(settings.normalization_gain),
      attends_(settings.attention),
      has_places_(settings.places) {}

PublishedLevel PublishedSteps::add_level(torch::nn::Module& owner, const std::string& name, int64_t factor, int64_t in,
                                         int64_t out, at::Generator& generator) const {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  PublishedLevel level{.factor = factor, .gain_E = {}, .offset_E = {}, .places_GE = {}, .dense = {}};
  if (normalizes_ && has_gain_) {
    const Norm norm = add_norm(*holder, "norm", width_, NormKind::kLayer, kEpsilon);
    level.gain_E = norm.gain_D;
    level.offset_E = norm.shift_D;
  }
  if (has_places_) {
    level.places_GE =
        holder->register_parameter("places", initial_weight(factor, width_, glorot(factor, width_), generator));
  }
  level.dense = add_linear(*holder, "dense", initial_weight(out, in, glorot(in, out), generator), at::zeros({out}));
  return level;
}

at::Tensor PublishedSteps::norm(const at::Tensor& x_ME, const PublishedLevel& level) const {
  return normalizes_ ? at::layer_norm(x_ME, {width_}, level.gain_E, level.offset_E, kEpsilon) : x_ME;
}

at::Tensor PublishedSteps::mix(at::Tensor x_MGE, const PublishedLevel& level) const {
  if (level.places_GE.defined()) x_MGE = x_MGE + level.places_GE;
  // Without projections or a scale: softmax(X X^T) X.
  if (attends_) x_MGE = at::matmul(at::softmax(at::matmul(x_MGE, x_MGE.transpose(1, 2)), -1), x_MGE);
  return x_MGE;
}

at::Tensor PublishedSteps::dense(const at::Tensor& x, const PublishedLevel& level, at::ScalarType type) const {
  const at::ScalarType wide = x.scalar_type();
  return activate(level.dense(wide == at::kDouble ? x : x.to(type)).to(wide), activation_);
}

PublishedEncoder::PublishedEncoder(const TokunEncoderSettings& settings, at::Generator& generator)
    : steps_(settings), block_bytes_(settings.block_options().chain.block_bytes()) {
  const int64_t width = settings.latent;
  table_UE_ = register_parameter("table", initial_weight(kValues, width, glorot(kValues, width), generator));
  for (const uint32_t factor : settings.block_options().chain.factors) {
    levels_.push_back(
        steps_.add_level(*this, fmt::format("level{}", levels_.size()), factor, factor * width, width, generator));
  }
}

std::vector<at::Tensor> PublishedEncoder::levels_of(const at::Tensor& bytes_NT, at::ScalarType type) const {
  const at::Tensor index = bytes_NT.reshape({-1}).to(table_UE_.device());
  at::Tensor x = table_UE_.scalar_type() == at::kDouble ? nn::gather_rows_plain(table_UE_, index)
                                                        : nn::gather_rows(table_UE_, index);
  std::vector<at::Tensor> results;
  for (const PublishedLevel& level : levels_) {
    const int64_t width = x.size(1);
    x = steps_.mix(steps_.norm(x, level).view({-1, level.factor, width}), level);
    x = steps_.dense(x.reshape({-1, level.factor * width}), level, type);
    results.push_back(x);
  }
  return results;
}

at::Tensor PublishedEncoder::forward(const PositionBatch& batch, at::ScalarType type) {
  return levels_of(bytes_of_rows(batch, block_bytes_), type).back();
}

double PublishedEncoder::multiplications() const {
  double total = 0;
  auto vectors = static_cast<double>(block_bytes_);
  for (const PublishedLevel& level : levels_) {
    vectors /= static_cast<double>(level.factor);
    total += vectors * static_cast<double>(level.dense.weight_ED.numel());
  }
  return total;
}

PublishedDecoder::PublishedDecoder(const TokunEncoderSettings& settings, at::Generator& generator)
    : steps_(settings), bits_(settings.head == "bits") {
  const int64_t width = settings.latent;
  std::vector<uint32_t> factors = settings.block_options().chain.factors;
  if (settings.mirrored) std::reverse(factors.begin(), factors.end());
  for (const uint32_t factor : factors) {
    levels_.push_back(
        steps_.add_level(*this, fmt::format("level{}", levels_.size()), factor, width, factor * width, generator));
  }
  const int64_t outputs = bits_ ? 8 : kValues;
  head_ = add_linear(*this, "head", initial_weight(outputs, width, glorot(width, outputs), generator),
                     at::zeros({outputs}));
}

BlockLogits PublishedDecoder::forward(const at::Tensor& z_NL, at::ScalarType type) {
  at::Tensor x = head_.weight_ED.scalar_type() == at::kDouble ? z_NL : z_NL.to(at::kFloat);
  for (const PublishedLevel& level : levels_) {
    const int64_t width = x.size(1);
    x = steps_.mix(steps_.dense(x, level, type).view({-1, level.factor, width}), level);
    x = steps_.norm(x.reshape({-1, width}), level);
  }
  const at::Tensor logits = head_(x.scalar_type() == at::kDouble ? x : x.to(type));
  return {.bytes = {{.logits_RV = logits, .first = 0, .stride = 1, .bits = bits_}}, .known_MK = {}, .trust_M = {}};
}

double PublishedDecoder::multiplications() const {
  double total = 0, vectors = 1;
  for (const PublishedLevel& level : levels_) {
    total += vectors * static_cast<double>(level.dense.weight_ED.numel());
    vectors *= static_cast<double>(level.factor);
  }
  return total + vectors * static_cast<double>(head_.weight_ED.numel());
}

}  // namespace verbatim
