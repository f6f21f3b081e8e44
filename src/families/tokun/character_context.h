#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>

#include "model/weights.h"

namespace verbatim {

// What the known characters beside a place make likely there, whatever stands there itself: a small network that reads
// the characters up to `reach` places in front and behind, as in Bengio et al. 2003, in both directions. It sees no
// vectors; with how near each character's vector is, it decides what vectors with noise came from (block_settling.h).
// K known characters, R the width of their rows here, which are read and written.
class CharacterContext {
 public:
  CharacterContext() = default;
  // Registers a module `name`. `most`: rows in all; with a reach of 0 there is none.
  CharacterContext(torch::nn::Module& owner, const std::string& name, int64_t most, int64_t reach, int64_t width,
                   int64_t hidden, at::Generator& generator);
  [[nodiscard]] int64_t reach() const { return reach_; }
  // [G, Q, K], K = `known`. row_GQ int64: which known character stands where, -1 for others; texts of Q characters.
  [[nodiscard]] at::Tensor logits(const at::Tensor& row_GQ, int64_t known, at::ScalarType type) const;

 private:
  int64_t reach_ = 0;
  at::Tensor rows_KR_, bias_K_;
  Norm norm_;
  LinearWeights up_, down_;
};

}  // namespace verbatim
