#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace verbatim {

// A file mapped read-only into memory. Empty files map to an empty span. Movable; the mapping ends with the object.
class MappedFile {
 public:
  enum class Access { kRandom, kSequential };

  MappedFile() = default;
  // Throws InputError when the path is missing or not a regular file, std::system_error when mapping fails.
  explicit MappedFile(const std::filesystem::path& path, Access access = Access::kRandom);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
};

// The whole file as a string. Throws InputError when it is missing or longer than `max_bytes`.
[[nodiscard]] std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 34);

// A file that appears under its final name only when it is complete: written to a temporary name in the same folder,
// flushed to disk (fsync of file and folder) and renamed by commit(). Without commit() nothing is left behind. What a
// killed process left of the same file goes when the file is written again.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  [[nodiscard]] uint64_t bytes_written() const { return written_; }
  // Takes back everything after the first `bytes` bytes; bytes <= bytes_written().
  void truncate(uint64_t bytes);
  void commit();

 private:
  void flush_buffer();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::string buffer_;
  uint64_t written_ = 0;
  int descriptor_ = -1;
};

// AtomicFile with one write.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Removes what killed processes left of AtomicFiles in a folder (not below it). A file that is still being written, by
// any process that shares the file system, is locked and stays.
void remove_unfinished_files(const std::filesystem::path& folder);

// Makes the names in a folder durable (fsync on the folder).
void sync_folder(const std::filesystem::path& folder);

}  // namespace verbatim
