#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "base/file.h"
#include "words/trigram_rows.h"

namespace verbatim {

// All 2^24 rows of one size in a file that is mapped: an option for machines that start many processes, since rows are
// otherwise computed when they are first needed. 64 bytes of header (the name "VerbatimTrigrams"; then as 32-bit
// numbers, version 1, V, m, bytes per id; zeros), then the rows by trigram number, their ids as 16-bit numbers when
// V <= 65536, as 32-bit numbers otherwise. Little-endian. V=32000, m=10: 336 MB.
class TrigramTable {
 public:
  // Computes all rows with `threads` threads and writes them; the file appears when it is complete. V=32000, m=10 takes
  // some seconds of computing on one core. Throws InputError for sizes that TrigramRows refuses.
  static void write(const std::filesystem::path& file, uint32_t vocabulary, uint32_t ids_per_trigram, size_t threads);
  // Throws InputError for a file that is no table, is cut short, or whose rows are not those of TrigramRows (some are
  // looked at here, each one is checked for order and range when it is read).
  [[nodiscard]] static TrigramTable open(const std::filesystem::path& file);

  [[nodiscard]] uint32_t vocabulary() const { return vocabulary_; }
  [[nodiscard]] uint32_t ids_per_trigram() const { return ids_per_trigram_; }
  // Copies the row of a trigram below 2^24 to ids[ids_per_trigram()].
  void read_row(uint32_t trigram, int32_t* ids) const;

 private:
  TrigramTable() = default;

  MappedFile file_;
  uint32_t vocabulary_ = 0;
  uint32_t ids_per_trigram_ = 0;
  uint32_t id_bytes_ = 0;
};

}  // namespace verbatim
