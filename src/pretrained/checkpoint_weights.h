#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "formats/safetensors.h"
#include "formats/torch_zip.h"

namespace verbatim {

// The tensors of a published checkpoint, whatever file holds them. Pickles are read as data; nothing in them is
// executed.
class CheckpointWeights {
 public:
  // `source` is the file, or a folder with model.safetensors (one file or shards), pytorch_model.bin, or one *.pt.
  // A state dict inside a "model" or "state_dict" member is found. Throws InputError.
  [[nodiscard]] static CheckpointWeights open(const std::filesystem::path& source);

  [[nodiscard]] const std::map<std::string, TensorView>& tensors() const;
  [[nodiscard]] const std::string& file() const { return file_; }
  // "F32", or several joined with commas.
  [[nodiscard]] std::string stored_types() const;

 private:
  std::string file_;
  std::optional<SafetensorsReader> safetensors_;
  std::unique_ptr<TorchZip> zip_;
  TorchTensors from_zip_;
};

}  // namespace verbatim
