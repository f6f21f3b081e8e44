#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "formats/pickle.h"
#include "formats/safetensors.h"

// Checkpoints that torch.save writes (.pt, .pth, pytorch_model.bin): a stored ZIP with NAME/data.pkl, a pickle of any
// Python value, and NAME/data/KEY, the storages of its tensors.
//
// Goals: no LibTorch, no Python, nothing executed (see pickle.h); weights stay in the mapped file; every file is
// hostile until checked. Not here: files from before torch 1.6 (another container), TorchScript archives, sparse and
// quantized tensors, writing.

namespace verbatim {

// Tensors by name, described as safetensors.h describes them. Movable; the views last as long as this and the TorchZip.
struct TorchTensors {
  std::map<std::string, TensorView> views;
  std::vector<std::unique_ptr<std::byte[]>> copies;  // of those that do not lie contiguous in the file
};

class TorchZip {
 public:
  struct Options {
    bool keep_unknown_names = false;  // see PickleOptions
  };

  // Throws InputError naming the file, the place and what to do, as StoredZip and PickleDocument do; also for the older
  // containers, for archives without exactly one data.pkl, and for big-endian storages.
  [[nodiscard]] static TorchZip open(const std::filesystem::path& path, const Options& options);
  [[nodiscard]] static TorchZip open(const std::filesystem::path& path) { return open(path, Options()); }
  // The same for a file in memory that outlives the object; `name` is for messages.
  [[nodiscard]] static TorchZip parse(std::span<const std::byte> bytes, std::string_view name, const Options& options);
  [[nodiscard]] static TorchZip parse(std::span<const std::byte> bytes, std::string_view name) {
    return parse(bytes, name, Options());
  }

  // What was saved. Tensors are views into the file.
  [[nodiscard]] const PickleValue& root() const { return document_.root(); }

  // All tensors inside the saved value, or inside its member `member` ("model", "module.state_dict": keys joined with
  // dots; each part is the longest key that fits). The names are the keys on the way, joined with dots, and numbers for
  // the items of lists: {"model": {"norm.weight": T}} gives "model.norm.weight", for the member "model" "norm.weight".
  // Everything that is not a tensor is passed over. Tensors that do not lie contiguous are copied: together at most
  // four times the size of the file. Throws InputError for a member that is not there, for a name that two tensors
  // would share, and for copies beyond that limit.
  [[nodiscard]] TorchTensors tensors(std::string_view member = {}) const;

 private:
  TorchZip(PickleDocument document, std::string name, size_t file_bytes)
      : document_(std::move(document)), name_(std::move(name)), file_bytes_(file_bytes) {}

  MappedFile file_;
  PickleDocument document_;
  std::string name_;
  size_t file_bytes_;
};

}  // namespace verbatim
