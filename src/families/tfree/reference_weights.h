#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string_view>

namespace verbatim {

// How the reference draws the weights of a new model (T-Free specification, section 4).
struct ReferenceWeights {
  std::string_view scheme;  // "pythia", "xavier" or "normal"
  double gain = 1;          // of "normal"
  int64_t width = 0;        // h
  int64_t layers = 0;
};

// Draws the matrices of `module` (normal) and the biases of its linear layers (uniform) anew; norms, and what the
// reference does not have, stay as they are. `module` is the encoder, the backbone or the decoder of a model whose
// backbone is a transformer.
void draw_reference_weights(torch::nn::Module& module, const ReferenceWeights& options, at::Generator& generator);

}  // namespace verbatim
