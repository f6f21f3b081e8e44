// Any bytes as the files of a memory map and of its aligned index: an InputError, or documents inside .bin.
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "corpus/aligned_index.h"
#include "corpus/memory_map.h"

namespace {

constexpr std::array<std::string_view, 6> kSuffixes = {".meta.json",   ".idx",         ".bin",
                                                       ".indices.bin", ".lengths.bin", ".offsets.bin"};

const std::filesystem::path& prefix() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("memory-map-fuzzer-" + std::to_string(::getpid()));
  return path;
}

}  // namespace

// The input holds the files one after the other, each with its length in two bytes before it. An empty first file
// stands for a correct .meta.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const std::string_view suffix : kSuffixes) {
    std::string_view content;
    if (rest.size() >= 2) {
      const size_t length = static_cast<uint8_t>(rest[0]) | static_cast<size_t>(static_cast<uint8_t>(rest[1])) << 8;
      content = rest.substr(2, length);
      rest.remove_prefix(2 + content.size());
    }
    std::string made;
    if (content.empty() && suffix == ".meta.json") {
      made = R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": )" + std::to_string(size % 7) + "}";
      content = made;
    }
    std::ofstream(verbatim::memory_map_file(prefix(), suffix), std::ios::binary)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
  }
  uint64_t sum = 0;
  try {
    const verbatim::MemoryMap map = verbatim::MemoryMap::open(prefix());
    for (uint64_t i = 0; i < map.document_count(); ++i) {
      for (const char c : map.document(i)) sum += static_cast<uint8_t>(c);
    }
    if (map.element_bytes() == 1) {
      verbatim::build_aligned_index(map, prefix());
      const auto index = verbatim::AlignedIndex::open(prefix());
      if (index.chunk_count() > map.total_bytes()) __builtin_trap();
    }
  } catch (const verbatim::InputError&) {
  }
  try {
    const verbatim::AlignedIndex index = verbatim::AlignedIndex::open(prefix());
    for (uint64_t e = 0; e < index.entry_count(); ++e) {
      for (const std::string_view text : index.entry(e)) {
        for (const char c : text) sum += static_cast<uint8_t>(c);
      }
    }
  } catch (const verbatim::InputError&) {
  }
  static volatile uint64_t seen;
  seen = sum;
  return 0;
}
