#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"

namespace verbatim {

// Documents as raw bytes: PREFIX.bin, PREFIX.idx, PREFIX.meta.json, compatible with T-Free's memory maps (element types
// uint8 for text; others are carried as bytes with their element size).
// Goals: one preparation for all families, O(1) access, larger than memory. Non-goals: compression, editing in place.
class MemoryMap {
 public:
  // Throws InputError naming the file and what is wrong (missing, short, offsets outside .bin, unknown type).
  [[nodiscard]] static MemoryMap open(const std::filesystem::path& prefix);

  [[nodiscard]] uint64_t document_count() const { return count_; }
  // The bytes of one document; index < document_count().
  [[nodiscard]] std::string_view document(uint64_t index) const;
  // Where that document begins in PREFIX.bin, in bytes.
  [[nodiscard]] uint64_t document_offset(uint64_t index) const;
  // Bytes of all documents together.
  [[nodiscard]] uint64_t total_bytes() const { return total_bytes_; }
  // numpy name of the element type ("uint8") and its size in bytes.
  [[nodiscard]] const std::string& element_type() const { return element_type_; }
  [[nodiscard]] uint64_t element_bytes() const { return element_bytes_; }

 private:
  MappedFile data_;
  MappedFile index_;
  std::string element_type_;
  uint64_t element_bytes_ = 1;
  bool index_is_64_bit_ = true;
  bool index_is_signed_ = false;
  uint64_t count_ = 0;
  uint64_t total_bytes_ = 0;
};

// Writes a memory map of text document by document, as T-Free's builder writes it with uint8 data and a uint64 index.
// The meta file is written last, all three under temporary names until commit(). Refuses to overwrite. A document
// longer than memory goes in by begin_document(), append()..., end_document(); discard_document() takes back what was
// appended since begin_document().
class MemoryMapWriter {
 public:
  explicit MemoryMapWriter(std::filesystem::path prefix);
  void add(std::string_view document);
  void begin_document();
  void append(std::string_view bytes);
  void end_document();
  void discard_document();
  [[nodiscard]] uint64_t document_count() const { return count_; }
  // Bytes of the finished documents.
  [[nodiscard]] uint64_t total_bytes() const { return total_; }
  void commit();

 private:
  std::filesystem::path prefix_;
  AtomicFile data_;
  AtomicFile index_;
  uint64_t count_ = 0;
  uint64_t total_ = 0;
  uint64_t open_bytes_ = 0;  // of the document that is being written
  bool open_ = false;
};

// PREFIX + suffix (".bin", ".idx", ".meta.json"); a prefix may itself contain dots.
[[nodiscard]] std::filesystem::path memory_map_file(const std::filesystem::path& prefix, std::string_view suffix);

}  // namespace verbatim
