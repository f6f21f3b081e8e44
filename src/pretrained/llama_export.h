#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/language_model.h"
#include "pretrained/llama_options.h"

namespace verbatim {

struct LlamaExport {
  std::string architecture;    // "LlamaForCausalLM"
  std::string tokenizer_file;  // its name
  int64_t parameters = 0;
  int64_t positions = 0;  // as written
};

// Writes a model as a folder that programs for Llama-shaped checkpoints read: config.json, generation_config.json,
// model.safetensors (shards when large), tokenizer files and README.md. Takes models of family `token`, and of family
// `byte` without n-grams (as a byte-level tokenizer without merges). A model with an attention window becomes Mistral's
// shape, which has one. Importing the folder gives the same logits, with float32 bit by bit.
//
// `out` appears complete or not at all. Throws InputError for other models, for weights that float16 cannot hold, and
// when `out` exists and is not empty.
LlamaExport export_llama(LanguageModel& model, const std::filesystem::path& out, const LlamaExportOptions& options);

}  // namespace verbatim
