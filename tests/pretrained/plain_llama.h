#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace verbatim::testing {

// A Llama-shaped checkpoint small enough to be computed with plain loops, in double, from the definition.
struct PlainLlama {
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };

  nlohmann::json config;
  std::map<std::string, Tensor> tensors;
  std::string dtype = "F32";  // of the file: F32, F16, BF16; values are rounded to it

  // Weights drawn from a seed, for these settings. Grouped queries, heads wider than width / heads.
  [[nodiscard]] static PlainLlama make(const nlohmann::json& changes = nlohmann::json::object(),
                                       const std::string& dtype = "F32");

  // config.json and model.safetensors.
  void write(const std::filesystem::path& folder, uint64_t shard_bytes = 0) const;

  // [ids][vocab_size]: the scores behind each id.
  [[nodiscard]] std::vector<std::vector<double>> logits(const std::vector<int32_t>& ids) const;
};

}  // namespace verbatim::testing
