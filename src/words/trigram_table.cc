#include "words/trigram_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/mix.h"

namespace verbatim {
namespace {

static_assert(std::endian::native == std::endian::little, "the file has the byte order of the machine");

struct Header {
  std::array<char, 16> name;
  uint32_t version;
  uint32_t vocabulary;
  uint32_t ids_per_trigram;
  uint32_t id_bytes;
  std::array<char, 32> zeros;
};
static_assert(sizeof(Header) == 64);

constexpr std::string_view kName = "VerbatimTrigrams";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kCheckedRows = 256;
constexpr size_t kRowsPerPart = size_t{1} << 14;

uint32_t id_bytes(uint32_t vocabulary) { return vocabulary <= 65536 ? 2 : 4; }

// Rows [first, first + kRowsPerPart) as they stand in the file.
void make_part(const TrigramRows& rows, size_t first, size_t ids_per_trigram, size_t bytes,
               std::vector<std::byte>& out) {
  std::vector<uint32_t> trigrams(kRowsPerPart);
  std::iota(trigrams.begin(), trigrams.end(), static_cast<uint32_t>(first));
  std::vector<int32_t> ids(kRowsPerPart * ids_per_trigram);
  rows.compute(trigrams, ids.data());
  out.resize(ids.size() * bytes);
  if (bytes == 4) {
    std::memcpy(out.data(), ids.data(), out.size());
    return;
  }
  const std::vector<uint16_t> small(ids.begin(), ids.end());
  std::memcpy(out.data(), small.data(), out.size());
}

}  // namespace

void TrigramTable::write(const std::filesystem::path& file, uint32_t vocabulary, uint32_t ids_per_trigram,
                         size_t threads) {
  const TrigramRows rows(vocabulary, ids_per_trigram);
  Header header{};
  kName.copy(header.name.data(), kName.size());
  header.version = kVersion;
  header.vocabulary = vocabulary;
  header.ids_per_trigram = ids_per_trigram;
  header.id_bytes = id_bytes(vocabulary);

  AtomicFile out(file);
  out.write(std::as_bytes(std::span(&header, 1)));
  std::vector<std::vector<std::byte>> parts(std::max<size_t>(threads, 1));
  for (size_t first = 0; first < kTrigrams; first += parts.size() * kRowsPerPart) {
    const size_t count = std::min(parts.size(), (kTrigrams - first) / kRowsPerPart);
    {
      std::vector<std::jthread> workers;
      for (size_t i = 0; i < count; ++i) {
        workers.emplace_back(
            [&, i] { make_part(rows, first + i * kRowsPerPart, ids_per_trigram, header.id_bytes, parts[i]); });
      }
    }
    for (size_t i = 0; i < count; ++i) out.write(parts[i]);
  }
  out.commit();
}

TrigramTable TrigramTable::open(const std::filesystem::path& file) {
  TrigramTable table;
  table.file_ = MappedFile(file);
  const std::span<const std::byte> bytes = table.file_.bytes();
  Header header;
  if (bytes.size() < sizeof header) {
    throw_input("{}: {} bytes are too few for a table of trigrams", file.string(), bytes.size());
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::string_view(header.name.data(), header.name.size()) != kName) {
    throw_input("{}: not a table of trigrams: it does not begin with \"{}\"", file.string(), kName);
  }
  if (header.version != kVersion) {
    throw_input("{}: version {} of the table of trigrams; only version {} can be read", file.string(), header.version,
                kVersion);
  }
  const TrigramRows rows(header.vocabulary, header.ids_per_trigram);
  if (header.id_bytes != id_bytes(header.vocabulary)) {
    throw_input("{}: {} bytes for an id, expected {} for a vocabulary of {}", file.string(), header.id_bytes,
                id_bytes(header.vocabulary), header.vocabulary);
  }
  // At most 2^24 * 2^31 * 4 bytes, far from overflow.
  const uint64_t expected = sizeof header + uint64_t{kTrigrams} * header.ids_per_trigram * header.id_bytes;
  if (bytes.size() != expected) {
    throw_input("{}: expected {} bytes for {} ids of {} in each row, got {}; write the table again", file.string(),
                expected, header.ids_per_trigram, header.vocabulary, bytes.size());
  }
  table.vocabulary_ = header.vocabulary;
  table.ids_per_trigram_ = header.ids_per_trigram;
  table.id_bytes_ = header.id_bytes;

  std::vector<int32_t> kept(header.ids_per_trigram), computed(header.ids_per_trigram);
  for (uint32_t i = 0; i < kCheckedRows; ++i) {
    const auto trigram = static_cast<uint32_t>(mix_bits(i) % kTrigrams);
    table.read_row(trigram, kept.data());
    rows.compute({&trigram, 1}, computed.data());
    if (kept != computed) {
      throw_input("{}: the row of trigram {} is not the one that belongs there; write the table again", file.string(),
                  trigram);
    }
  }
  return table;
}

void TrigramTable::read_row(uint32_t trigram, int32_t* ids) const {
  VERBATIM_ASSERT(trigram < kTrigrams);
  const size_t row_bytes = size_t{ids_per_trigram_} * id_bytes_;
  const std::byte* row = file_.bytes().data() + sizeof(Header) + trigram * row_bytes;
  if (id_bytes_ == 4) {
    std::memcpy(ids, row, row_bytes);
  } else {
    for (size_t i = 0; i < ids_per_trigram_; ++i) {
      uint16_t id;
      std::memcpy(&id, row + 2 * i, 2);
      ids[i] = id;
    }
  }
  for (size_t i = 0; i < ids_per_trigram_; ++i) {
    if ((i > 0 && ids[i] <= ids[i - 1]) || static_cast<uint32_t>(ids[i]) >= vocabulary_) {
      throw_input("{}: the row of trigram {} is damaged; write the table again", file_.path().string(), trigram);
    }
  }
}

}  // namespace verbatim
