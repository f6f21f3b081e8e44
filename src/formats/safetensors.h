#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace verbatim {

// One tensor as it lies in a file: row-major, contiguous, little endian.
struct TensorView {
  std::string dtype;           // "F32", "BF16", "F16", "I64", ...: names of the safetensors format
  std::vector<int64_t> shape;  // [] is a scalar
  std::span<const std::byte> bytes;
};

[[nodiscard]] size_t dtype_bytes(std::string_view dtype);  // throws InputError for unknown names

// Reads a safetensors file, or all shards of `*.index.json`, by memory mapping. Views stay valid as long as the object.
// Throws InputError for every way a file can be malformed: header length, JSON, duplicate names, unknown types, sizes
// that do not fit the shape, holes, overlaps, ranges outside the file.
class SafetensorsReader {
 public:
  [[nodiscard]] static SafetensorsReader open(const std::filesystem::path& path);

  [[nodiscard]] const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  [[nodiscard]] const TensorView& tensor(std::string_view name) const;  // throws InputError naming the nearest names
  [[nodiscard]] bool contains(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes one file atomically, or shards with an index when the tensors exceed `shard_bytes` (0: never shard). `path` is the name of
// the single file; shards are named model-00001-of-0000N.safetensors beside it.
// Order as the reference writer: larger alignment first, then name. metadata {"format":"pt"} is added.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {}, uint64_t shard_bytes = 0);

}  // namespace verbatim
