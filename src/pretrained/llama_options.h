#pragma once

#include <cstdint>
#include <string>

// What can be asked of llama_import.h and llama_export.h. Without LibTorch: the command line shows and reads it before
// tensors are needed.
namespace verbatim {

struct LlamaImportOptions {
  // Predicted behind a document, instead of eos_token_id; -1: as the checkpoint says. Some were trained on documents
  // that follow each other with the begin symbol between them: it is what they predict at the end.
  int64_t end_id = -1;
};

struct LlamaExportOptions {
  std::string dtype = "float32";  // or "bfloat16", "float16": rounded to the nearest; the first keeps every bit
  int64_t positions = 0;          // max_position_embeddings; 0: what the model knows of its training, else 2048
};

}  // namespace verbatim
