#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

// Safetensors: length of the header (u64, little endian), header (JSON: name -> type, shape, range of bytes), bytes.
//
// Goals: reading costs nothing but the pages touched; a file that is accepted has every tensor inside it, whole and
// without overlap; files of the reference implementation are read, and it reads ours.
// Not here: tensors. What the bytes mean to LibTorch is the business of nn/.

namespace verbatim {

// One tensor as it lies in a file: row-major, contiguous, little endian. Files of other writers may place it at any
// address, so copy the bytes rather than point a float* at them.
struct TensorView {
  std::string dtype;           // "F32", "BF16", "F16", "I64", ...: names of the safetensors format
  std::vector<int64_t> shape;  // [] is a scalar
  std::span<const std::byte> bytes;
};

[[nodiscard]] size_t dtype_bytes(std::string_view dtype);  // throws InputError for unknown names

// Reads a safetensors file, or all shards of `*.index.json`, by memory mapping. Views stay valid as long as the object,
// also when it is moved. Throws InputError for every way a file can be malformed: header length, JSON, duplicate names,
// unknown types, sizes that do not fit the shape, holes, overlaps, ranges outside the file.
class SafetensorsReader {
 public:
  // `path` is a file, an index, or a folder that holds model.safetensors or model.safetensors.index.json.
  // NAME.safetensors that does not exist beside NAME.safetensors.index.json means the index.
  [[nodiscard]] static SafetensorsReader open(const std::filesystem::path& path);
  // The same for one file that is already in memory and outlives the reader; `name` is for messages.
  [[nodiscard]] static SafetensorsReader parse(std::span<const std::byte> bytes, std::string_view name);

  [[nodiscard]] const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  [[nodiscard]] const TensorView& tensor(std::string_view name) const;  // throws InputError naming the nearest names
  [[nodiscard]] bool contains(std::string_view name) const;
  // Of a sharded model: the metadata of the shards together (the first one counts where they differ).
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  void add_index(const std::filesystem::path& path);
  void add_file(const std::filesystem::path& path);

  std::string name_;
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes one file atomically, or shards with an index when the tensors exceed `shard_bytes` (0: never shard). `path` is
// the name of the single file, NAME.safetensors; shards are named NAME-00001-of-0000N.safetensors beside it, the index
// NAME.safetensors.index.json, and it is written last. Tensors keep the order of their names over the shards; a tensor
// larger than `shard_bytes` gets a shard of its own. What another way of writing left under `path` (the index or the
// single file) is removed, so that a reader finds the new weights only.
//
// Order within a file as the reference writer: larger alignment first, then name. metadata {"format":"pt"} is added.
// Throws InputError for names that are not UTF-8, InternalError for bytes that do not fit type and shape.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {}, uint64_t shard_bytes = 0);

}  // namespace verbatim
