#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Pickles and ZIP archives put together by hand, whatever they say.
namespace verbatim::testing {

// The lowest `size` bytes of a number, little endian; behind its eight, 0.
inline std::string number(uint64_t value, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i < 8 ? value >> (8 * i) : 0));
  return bytes;
}

// --- Opcodes of pickles ---

inline std::string text(std::string_view text) { return "X" + number(text.size(), 4) + std::string(text); }
inline std::string integer(int64_t value) { return "\x8A\x08" + number(static_cast<uint64_t>(value), 8); }
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string tuple(const std::vector<int64_t>& items) {
  std::string bytes = "(";
  for (const int64_t item : items) bytes += integer(item);
  return bytes + "t";
}
inline std::string storage(std::string_view type, std::string_view key, int64_t count) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + "tQ";
}
inline std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + integer(offset) + tuple(shape) +
         tuple(strides) + "\x89" + global("collections", "OrderedDict") + ")RtR";
}
// A dict with these keys; the values are opcodes.
inline std::string dictionary(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string bytes = "}(";
  for (const auto& [key, value] : items) bytes += text(key) + value;
  return bytes + "u";
}
inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

// --- ZIP ---

struct ZipFile {
  std::string name;
  std::string data;
  uint16_t method = 0;
  uint16_t flags = 0;
  std::string local_name = {};  // in the header before the data; empty: the same
};

struct ZipOptions {
  bool zip64 = false;  // all sizes and places in 64 bits
  std::string comment = {};
  uint32_t checksum = 0;  // of every file
};

inline std::string zip_bytes(const std::vector<ZipFile>& files, const ZipOptions& options = {}) {
  constexpr uint64_t kElsewhere = 0xFFFFFFFF;
  std::string archive;
  std::string directory;
  for (const ZipFile& file : files) {
    const uint64_t begin = archive.size();
    const std::string local_name = file.local_name.empty() ? file.name : file.local_name;
    const std::string padding = "FB" + number(6, 2) + "ZZZZZZ";  // as torch aligns its storages
    archive += "PK\x03\x04" + number(20, 2) + number(file.flags, 2) + number(file.method, 2) + number(0, 4) +
               number(options.checksum, 4) + number(file.data.size(), 4) + number(file.data.size(), 4) +
               number(local_name.size(), 2) + number(padding.size(), 2) + local_name + padding + file.data;
    const std::string extra = options.zip64 ? number(1, 2) + number(24, 2) + number(file.data.size(), 8) +
                                                  number(file.data.size(), 8) + number(begin, 8)
                                            : "";
    const uint64_t size = options.zip64 ? kElsewhere : file.data.size();
    directory += "PK\x01\x02" + number(20, 2) + number(20, 2) + number(file.flags, 2) + number(file.method, 2) +
                 number(0, 4) + number(options.checksum, 4) + number(size, 4) + number(size, 4) +
                 number(file.name.size(), 2) + number(extra.size(), 2) + number(0, 2) + number(0, 2) + number(0, 2) +
                 number(0, 4) + number(options.zip64 ? kElsewhere : begin, 4) + file.name + extra;
  }
  const uint64_t directory_begin = archive.size();
  archive += directory;
  if (options.zip64) {
    const uint64_t end64 = archive.size();
    archive += "PK\x06\x06" + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 4) + number(0, 4) +
               number(files.size(), 8) + number(files.size(), 8) + number(directory.size(), 8) +
               number(directory_begin, 8);
    archive += "PK\x06\x07" + number(0, 4) + number(end64, 8) + number(1, 4);
  }
  const uint64_t count = options.zip64 ? 0xFFFF : files.size();
  archive += "PK\x05\x06" + number(0, 2) + number(0, 2) + number(count, 2) + number(count, 2) +
             number(options.zip64 ? kElsewhere : directory.size(), 4) +
             number(options.zip64 ? kElsewhere : directory_begin, 4) + number(options.comment.size(), 2) +
             options.comment;
  return archive;
}

// A checkpoint: a pickle of `value` (opcodes) and storages "0", "1", ...
inline std::string torch_zip_bytes(const std::string& value, const std::vector<std::string>& storages,
                                   const ZipOptions& options = {}) {
  std::vector<ZipFile> files = {{.name = "m/data.pkl", .data = pickle(value)}};
  for (size_t i = 0; i < storages.size(); ++i) {
    files.push_back({.name = "m/data/" + std::to_string(i), .data = storages[i]});
  }
  files.push_back({.name = "m/version", .data = "3\n"});
  return zip_bytes(files, options);
}

}  // namespace verbatim::testing
