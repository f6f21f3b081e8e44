#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "model/language_model.h"
#include "pretrained/llama_options.h"

namespace verbatim {

// A public checkpoint of the Llama shape as a model of family `token`: a folder with config.json, model.safetensors
// (one file or shards) and a tokenizer. The weights are the same numbers on both sides: nothing is reordered or scaled.
struct LlamaImport {
  std::shared_ptr<LanguageModel> model;
  std::string architecture;    // "LlamaForCausalLM"
  std::string stored_types;    // of the weights: "F32", or several: "BF16, F32"
  std::string tokenizer_file;  // name in the source
};

// Reads a folder into a model. Weights of type F32, F16 and BF16 become float32. The tokenizer is tokenizer.json, else
// tokenizer.model, else the only *.model in the folder. Throws InputError that names the file and what is wrong with it
// for settings that cannot be carried over (llama_config.h), tensors that are missing, left over, or of another shape
// or type, and tokenizers larger than the vocabulary. Nothing is allocated before names and shapes of all tensors agree
// with the settings.
[[nodiscard]] LlamaImport read_llama(const std::filesystem::path& source, const LlamaImportOptions& options = {});

// read_llama() into the model folder `out`, which appears complete or not at all. Throws InputError when `out` exists
// and is not empty.
LlamaImport import_llama(const std::filesystem::path& source, const std::filesystem::path& out,
                         const LlamaImportOptions& options = {});

}  // namespace verbatim
