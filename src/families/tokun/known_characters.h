#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/weights.h"

namespace verbatim {

// Characters that training has seen, each with a row of its own. An encoder that has them is free to place its
// characters where they are told apart best, which functions of their bytes are not. K characters, R the width of the
// rows.
//
// Which characters there are is part of the weights: padding, then the first ones that training sees, in that order.
class KnownCharacters {
 public:
  KnownCharacters() = default;
  // Registers the parameters in `holder`. `most`: rows in all; 0: none.
  KnownCharacters(torch::nn::Module& holder, int64_t most, int64_t row_width, at::Generator& generator);
  [[nodiscard]] bool any() const { return most_ > 0; }
  // Gives rows to units that have none, as long as there are any.
  void learn(std::span<const int32_t> units);
  [[nodiscard]] int64_t count() const;
  // [K, 4] int64: their bytes.
  [[nodiscard]] at::Tensor bytes() const;
  // Until the next call, each one but padding counts as unknown with this chance: so that characters without rows are
  // learnt amid those that have them.
  void hide(double chance, at::Generator& generator);
  void show_all() { hidden_.clear(); }
  // Of a unit; -1 where it has none.
  [[nodiscard]] int64_t row(int32_t unit) const;
  // Of characters [M, 4] int64 bytes of UTF-32, -1 where a byte is. [M] int64 on the CPU.
  [[nodiscard]] at::Tensor rows(const at::Tensor& bytes_M4) const;
  [[nodiscard]] int32_t unit(int64_t row) const;
  // [most, R]
  [[nodiscard]] const at::Tensor& table() const { return rows_KR_; }

 private:
  // What the weights say, read again when they have changed.
  void read() const;

  int64_t most_ = 0;
  at::Tensor rows_KR_;  // [most, R]
  // [most, 3] bytes of UTF-32 without the first, which is always 0; all 0 where a row is free. Bytes stay exact in
  // whatever type weights are kept.
  at::Tensor bytes_K3_;
  mutable std::vector<int32_t> units_;
  mutable std::unordered_map<int32_t, int64_t> row_of_;
  mutable int64_t version_ = -1;
  std::vector<bool> hidden_;  // behind its end none is
};

// A decision among them as wholes: by how near what is known of a place is to each one's vector in the encoder, and by
// how frequent each is. Bytes that are said one by one cannot do that. W: width of what is known of a place, C: of the
// vectors of characters.
class CharacterChoice {
 public:
  CharacterChoice() = default;
  // Registers a module `name`. `most`: rows in all; 0: none.
  CharacterChoice(torch::nn::Module& owner, const std::string& name, int64_t most, int64_t width, int64_t row_width,
                  int64_t vector_width, at::Generator& generator);
  [[nodiscard]] bool any() const { return query_.weight_ED.defined(); }
  // [K, R] float32 (or double), from the vectors of the known characters.
  [[nodiscard]] at::Tensor rows(const at::Tensor& vectors_KC, at::ScalarType type) const;
  // [M, K] of a place that is known to hold a known character. said [M, W]
  [[nodiscard]] at::Tensor logits(const at::Tensor& said_MW, const at::Tensor& rows_KR) const;
  // [M] of trusting that choice, and not the bytes.
  [[nodiscard]] at::Tensor trust(const at::Tensor& said_MW) const { return trust_(said_MW).squeeze(1); }
  // Of one place, with every row taken.
  [[nodiscard]] double multiplications() const;

 private:
  LinearWeights query_, trust_, near_;
  at::Tensor bias_K_;
};

}  // namespace verbatim
