#include "formats/safetensors.h"  // the declaration of write_safetensors

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/text_format.h"
#include "formats/safetensors_layout.h"

namespace verbatim {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

using NamedView = std::pair<std::string_view, const TensorView*>;
using Metadata = std::map<std::string, std::string>;

std::string json_text(std::string_view text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw_input("tensor name or metadata {}: expected valid UTF-8, got other bytes; safetensors cannot hold them",
                quote_bytes(text));
  }
}

void check(std::string_view name, const TensorView& view) {
  if (name == safetensors::kMetadataKey) throw_input("tensor name '{}': expected another, this one is reserved", name);
  const std::optional<uint64_t> bytes = safetensors::tensor_bytes(view.shape, dtype_bytes(view.dtype));
  VERBATIM_ASSERT(bytes == view.bytes.size(), "tensor {} of type {} and shape [{}] has {} bytes", quote_bytes(name),
                  view.dtype, fmt::join(view.shape, ", "), view.bytes.size());
}

std::string header_text(const std::vector<NamedView>& tensors, const Metadata& metadata) {
  std::string header = fmt::format("{{{}:{{", json_text(safetensors::kMetadataKey));
  bool is_first = true;
  for (const auto& [key, value] : metadata) {
    if (!std::exchange(is_first, false)) header += ',';
    header += fmt::format("{}:{}", json_text(key), json_text(value));
  }
  header += '}';
  uint64_t offset = 0;
  for (const auto& [name, view] : tensors) {
    const uint64_t end = offset + view->bytes.size();
    header += fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", json_text(name),
                          view->dtype, fmt::join(view->shape, ","), offset, end);
    offset = end;
  }
  header += '}';
  // Spaces up to a multiple of 8, so that every tensor lies at a multiple of its alignment.
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > safetensors::kMaxHeaderBytes) {
    throw_input("safetensors header: expected at most {} bytes, got {}; write fewer tensors per file",
                safetensors::kMaxHeaderBytes, header.size());
  }
  return header;
}

void write_file(const std::filesystem::path& path, std::vector<NamedView> tensors, const Metadata& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const NamedView& a, const NamedView& b) {
    const size_t rank_a = safetensors::dtype_rank(a.second->dtype);
    const size_t rank_b = safetensors::dtype_rank(b.second->dtype);
    return std::tie(rank_b, a.first) < std::tie(rank_a, b.first);
  });
  const std::string header = header_text(tensors, metadata);
  const uint64_t header_bytes = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(header);
  for (const auto& [name, view] : tensors) file.write(view->bytes);
  file.commit();
}

// Groups of at most `shard_bytes`, in the order of the names.
std::vector<std::vector<NamedView>> split(const std::map<std::string, TensorView>& tensors, uint64_t shard_bytes) {
  std::vector<std::vector<NamedView>> shards(1);
  uint64_t filled = 0;
  for (const auto& [name, view] : tensors) {
    const uint64_t bytes = view.bytes.size();
    const bool is_full =
        shard_bytes > 0 && !shards.back().empty() && bytes > shard_bytes - std::min(filled, shard_bytes);
    if (is_full) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().emplace_back(name, &view);
    filled += bytes;
  }
  return shards;
}

void remove_stale(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) throw_system(error.value(), "remove", path.string());
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata, uint64_t shard_bytes) {
  uint64_t total_bytes = 0;
  for (const auto& [name, view] : tensors) {
    check(name, view);
    total_bytes += view.bytes.size();
  }
  Metadata all_metadata = metadata;
  all_metadata.try_emplace("format", "pt");

  const std::vector<std::vector<NamedView>> shards = split(tensors, shard_bytes);
  if (shards.size() == 1) {
    write_file(path, shards[0], all_metadata);
    remove_stale(safetensors::index_path(path));
    return;
  }
  std::string weight_map;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string shard_name =
        fmt::format("{}-{:05}-of-{:05}.safetensors", path.stem().string(), i + 1, shards.size());
    write_file(path.parent_path() / shard_name, shards[i], all_metadata);
    for (const auto& [name, view] : shards[i]) {
      weight_map +=
          fmt::format("{}\n    {}: {}", weight_map.empty() ? "" : ",", json_text(name), json_text(shard_name));
    }
  }
  write_file_atomically(
      safetensors::index_path(path),
      fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{{}\n  }}\n}}\n",
                  total_bytes, weight_map));
  remove_stale(path);
}

}  // namespace verbatim
