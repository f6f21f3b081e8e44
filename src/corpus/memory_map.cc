#include "corpus/memory_map.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace verbatim {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little endian and are mapped as they are");

struct NamedType {
  std::string_view name;
  uint64_t bytes;
  bool is_signed;
  bool is_index;
};

constexpr std::array<NamedType, 11> kTypes = {{{"uint8", 1, false, false},
                                               {"int8", 1, true, false},
                                               {"uint16", 2, false, false},
                                               {"int16", 2, true, false},
                                               {"uint32", 4, false, true},
                                               {"int32", 4, true, true},
                                               {"uint64", 8, false, true},
                                               {"int64", 8, true, true},
                                               {"float16", 2, true, false},
                                               {"float32", 4, true, false},
                                               {"float64", 8, true, false}}};

constexpr uint64_t kLongestMeta = uint64_t{1} << 16;

struct Meta {
  NamedType data;
  NamedType index;
  uint64_t documents;
};

NamedType read_type(const nlohmann::json& meta, const char* key, bool index, const std::string& file) {
  const auto found = meta.find(key);
  if (found == meta.end()) throw_input("{}: \"{}\" is missing; expected the name of an element type", file, key);
  if (!found->is_string())
    throw_input("{}: \"{}\" is {}, expected the name of an element type", file, key, found->dump());
  const auto& name = found->get_ref<const std::string&>();
  for (const NamedType& type : kTypes) {
    if (type.name == name && (!index || type.is_index)) return type;
  }
  throw_input("{}: \"{}\" is \"{}\", expected {}", file, key, name,
              index ? "int32, uint32, int64 or uint64" : "uint8 or another of numpy's plain number types");
}

Meta read_meta(const std::filesystem::path& path) {
  const std::string file = path.string();
  const auto meta = nlohmann::json::parse(read_file(path, kLongestMeta), nullptr, /*allow_exceptions=*/false);
  if (!meta.is_object()) throw_input("{}: expected a JSON object with dtype, index_dtype and document_count", file);
  const auto count = meta.find("document_count");
  if (count == meta.end() || !count->is_number_integer() ||
      (!count->is_number_unsigned() && count->get<int64_t>() < 0)) {
    throw_input("{}: \"document_count\" is {}, expected a number of documents", file,
                count == meta.end() ? "missing" : count->dump());
  }
  return {.data = read_type(meta, "dtype", /*index=*/false, file),
          .index = read_type(meta, "index_dtype", /*index=*/true, file),
          .documents = count->get<uint64_t>()};
}

struct Range {
  uint64_t start;
  uint64_t count;
};

// Negative numbers come out as huge ones, which no file can hold.
Range read_range(const std::byte* index, uint64_t document, bool is_64_bit, bool is_signed) {
  if (is_64_bit) {
    std::array<uint64_t, 2> pair;
    std::memcpy(pair.data(), index + document * sizeof(pair), sizeof(pair));
    return {pair[0], pair[1]};
  }
  std::array<uint32_t, 2> pair;
  std::memcpy(pair.data(), index + document * sizeof(pair), sizeof(pair));
  const auto widen = [is_signed](uint32_t value) {
    return is_signed ? static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value))) : uint64_t{value};
  };
  return {widen(pair[0]), widen(pair[1])};
}

std::filesystem::path checked_free(std::filesystem::path path) {
  if (std::filesystem::exists(std::filesystem::symlink_status(path))) {
    throw_input("{} exists already; remove it or choose another name", path.string());
  }
  return path;
}

}  // namespace

std::filesystem::path memory_map_file(const std::filesystem::path& prefix, std::string_view suffix) {
  std::filesystem::path path = prefix;
  path += suffix;
  return path;
}

MemoryMap MemoryMap::open(const std::filesystem::path& prefix) {
  const Meta meta = read_meta(memory_map_file(prefix, ".meta.json"));
  MemoryMap map;
  map.data_ = MappedFile(memory_map_file(prefix, ".bin"));
  map.index_ = MappedFile(memory_map_file(prefix, ".idx"));
  map.element_type_ = meta.data.name;
  map.element_bytes_ = meta.data.bytes;
  map.index_is_64_bit_ = meta.index.bytes == 8;
  map.index_is_signed_ = meta.index.is_signed;
  map.count_ = meta.documents;

  const std::string data_file = map.data_.path().string();
  const std::string index_file = map.index_.path().string();
  const uint64_t data_bytes = map.data_.bytes().size();
  const uint64_t index_bytes = map.index_.bytes().size();
  const uint64_t record_bytes = 2 * meta.index.bytes;
  if (index_bytes % record_bytes != 0 || index_bytes / record_bytes != meta.documents) {
    throw_input(
        "{}: {} bytes, expected {} bytes for each of {} documents (two {} numbers); the file is cut short or "
        "belongs to another memory map",
        index_file, index_bytes, record_bytes, meta.documents, meta.index.name);
  }
  if (data_bytes % meta.data.bytes != 0) {
    throw_input("{}: {} bytes is no whole number of {} elements; the file is cut short", data_file, data_bytes,
                meta.data.name);
  }
  const uint64_t elements = data_bytes / meta.data.bytes;
  for (uint64_t document = 0; document < map.count_; ++document) {
    const Range range = read_range(map.index_.bytes().data(), document, map.index_is_64_bit_, map.index_is_signed_);
    if (range.start > elements || range.count > elements - range.start) {
      throw_input(
          "{}: document {} starts at element {} and has {}, but {} holds only {}; the files do not belong "
          "together or are damaged",
          index_file, document, range.start, range.count, data_file, elements);
    }
    if (__builtin_add_overflow(map.total_bytes_, range.count * meta.data.bytes, &map.total_bytes_)) {
      throw_input("{}: the documents together are longer than 2^64 bytes", index_file);
    }
  }
  return map;
}

std::string_view MemoryMap::document(uint64_t index) const {
  VERBATIM_ASSERT(index < count_, "document {} of {}", index, count_);
  const Range range = read_range(index_.bytes().data(), index, index_is_64_bit_, index_is_signed_);
  return data_.text().substr(range.start * element_bytes_, range.count * element_bytes_);
}

uint64_t MemoryMap::document_offset(uint64_t index) const {
  VERBATIM_ASSERT(index < count_, "document {} of {}", index, count_);
  return read_range(index_.bytes().data(), index, index_is_64_bit_, index_is_signed_).start * element_bytes_;
}

MemoryMapWriter::MemoryMapWriter(std::filesystem::path prefix)
    : prefix_(std::move(prefix)),
      data_(checked_free(memory_map_file(prefix_, ".bin"))),
      index_(checked_free(memory_map_file(prefix_, ".idx"))) {
  checked_free(memory_map_file(prefix_, ".meta.json"));
}

void MemoryMapWriter::add(std::string_view document) {
  begin_document();
  append(document);
  end_document();
}

void MemoryMapWriter::begin_document() {
  VERBATIM_ASSERT(!open_, "a document is open already");
  open_ = true;
  open_bytes_ = 0;
}

void MemoryMapWriter::append(std::string_view bytes) {
  VERBATIM_ASSERT(open_, "no document is open");
  data_.write(bytes);
  open_bytes_ += bytes.size();
}

void MemoryMapWriter::end_document() {
  VERBATIM_ASSERT(open_, "no document is open");
  const std::array<uint64_t, 2> record = {total_, open_bytes_};
  index_.write(std::as_bytes(std::span(record)));
  total_ += open_bytes_;
  ++count_;
  open_ = false;
}

void MemoryMapWriter::discard_document() {
  VERBATIM_ASSERT(open_, "no document is open");
  data_.truncate(total_);
  open_ = false;
}

void MemoryMapWriter::commit() {
  VERBATIM_ASSERT(!open_, "a document is still open");
  data_.commit();
  index_.commit();
  write_file_atomically(memory_map_file(prefix_, ".meta.json"),
                        fmt::format(R"({{"dtype": "uint8", "index_dtype": "uint64", "document_count": {}}})", count_));
}

}  // namespace verbatim
