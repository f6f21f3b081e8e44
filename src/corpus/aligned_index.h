#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "corpus/memory_map.h"

namespace verbatim {

// T-Free's second index over a memory map: entries of about 20,000 bytes, each a list of text chunks. On disk, beside
// PREFIX.bin, one record per chunk in three parallel arrays: PREFIX.indices.bin (uint32, number of the entry),
// PREFIX.lengths.bin (uint16), PREFIX.offsets.bin (uint64, place in PREFIX.bin).
// Goals: the same entries as the reference, for training that must compare with it. Non-goal: covering the whole text;
// the format loses document ends, short documents, invalid UTF-8 and most text without blanks. PieceSampler loses
// nothing.
class AlignedIndex {
 public:
  // Throws InputError naming the file and what is wrong: missing, sizes that disagree, entries out of order, chunks
  // outside PREFIX.bin.
  [[nodiscard]] static AlignedIndex open(const std::filesystem::path& prefix);
  // As the reference does on first use: builds the files when one of the three is missing.
  [[nodiscard]] static AlignedIndex open_or_build(const std::filesystem::path& prefix);

  [[nodiscard]] uint64_t entry_count() const { return first_record_.size() - 1; }
  // The entries the reference can reach: it takes the largest entry number for the count.
  [[nodiscard]] uint64_t reference_entry_count() const { return entry_count() == 0 ? 0 : entry_count() - 1; }
  // Chunks of all entries.
  [[nodiscard]] uint64_t chunk_count() const { return first_record_.back(); }
  // The texts of one entry in constant time; entry < entry_count(). The views last as long as the index.
  [[nodiscard]] std::vector<std::string_view> entry(uint64_t entry) const;

 private:
  MappedFile data_;
  MappedFile lengths_;
  MappedFile offsets_;
  std::vector<uint64_t> first_record_;  // of each entry, plus the total
};

// Writes the three index files for the text in `map`, which lies in PREFIX.bin, with the reference's rules and its
// exact results (specification 7.2 of T-Free's data files). Where the reference crashes (no place to cut in the first
// document) the rest of the document is dropped, as it is in later documents. Files that exist are replaced.
void build_aligned_index(const MemoryMap& map, const std::filesystem::path& prefix);

}  // namespace verbatim
