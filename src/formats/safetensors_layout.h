#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"

// What reader and writer of safetensors share.
namespace verbatim::safetensors {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation refuses more
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::string_view kIndexSuffix = ".index.json";

// Position in the list of types, by which the reference implementation orders tensors: later ones lie first in a file.
// Throws InputError for unknown names.
[[nodiscard]] size_t dtype_rank(std::string_view dtype);

// Bytes of a tensor; empty when a dimension is negative, or when the product of the dimensions other than 0 does not
// fit into int64 (so that strides computed from the shape do not overflow either).
[[nodiscard]] std::optional<uint64_t> tensor_bytes(std::span<const int64_t> shape, size_t element_bytes);

// The index of a sharded model.
[[nodiscard]] inline std::filesystem::path index_path(std::filesystem::path path) { return path += kIndexSuffix; }

}  // namespace verbatim::safetensors
