#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace verbatim {

// While one lives on a thread, models made there have shapes but no weights: to count the parameters of a model that is
// larger than memory.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
  [[nodiscard]] static bool active();
};

// A weight matrix [E, D] drawn from a normal distribution with the given deviation, cut at three deviations.
[[nodiscard]] at::Tensor initial_weight(int64_t out, int64_t in, double deviation, at::Generator& generator);

// Uniform in [low, high).
[[nodiscard]] at::Tensor initial_uniform(at::IntArrayRef shape, double low, double high, at::Generator& generator);

enum class NormKind {
  kRms,             // x / root mean square
  kLayer,           // LayerNorm: (x - mean) / deviation, times a gain, plus a shift
  kLayerUnshifted,  // the same without the shift
  kDeviation,       // x / deviation: the mean is not taken away (SpaceByte's "RMSNorm")
};
// "rms", "layer", "layer_unshifted", "deviation", as in the settings.
[[nodiscard]] NormKind norm_kind(std::string_view name);

struct Norm {
  at::Tensor gain_D;
  at::Tensor shift_D;  // kLayer only
  double epsilon = 1e-5;
  NormKind kind = NormKind::kRms;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_ND, at::ScalarType type) const;
  // {x + delta, its norm}
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> add(const at::Tensor& x_ND, const at::Tensor& delta_ND,
                                                      at::ScalarType type) const;
  // Row by row, float32 on the CPU; x and y may be the same.
  void rows(const float* x_RD, float* y_RD, int64_t count) const;
};

// y = W x (+ b). Weight [E, D]; the bias may be undefined.
struct LinearWeights {
  at::Tensor weight_ED, bias_E;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_ND) const;
  void rows(const float* x_RD, float* y_RE, int64_t count) const;
};

// One product instead of several that read the same rows.
[[nodiscard]] LinearWeights joined(std::initializer_list<const LinearWeights*> parts);

// What a stack hands on: the residual stream, and what its last layer still has to add to it. Kept apart so that the
// addition happens inside the norm that follows.
struct Residual {
  at::Tensor stream_ND;  // float32
  at::Tensor delta_ND;   // compute type; undefined: nothing to add

  [[nodiscard]] at::Tensor sum() const;
  [[nodiscard]] at::Tensor normed(const Norm& norm, at::ScalarType type) const;
};

// Registers a module `name` with a weight and, when defined, a bias.
LinearWeights add_linear(torch::nn::Module& owner, const std::string& name, at::Tensor weight,
                         const at::Tensor& bias = {});
// Registers a module `name` with a gain of ones and, for kLayer, a shift of zeros.
Norm add_norm(torch::nn::Module& owner, const std::string& name, int64_t width, NormKind kind, double epsilon);

}  // namespace verbatim
