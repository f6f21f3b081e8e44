#include "corpus/aligned_index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>

#include "base/error.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr uint64_t kEntryBytes = 20000;  // M in the specification
constexpr uint64_t kTolerance = 100;     // T
constexpr std::string_view kCutBytes = " .,!?";

struct Chunk {
  uint64_t offset;
  uint16_t length;
};

// Collects the chunks of the open entry and writes those of finished ones; the last entry is never written.
class IndexWriter {
 public:
  explicit IndexWriter(const std::filesystem::path& prefix)
      : indices_(memory_map_file(prefix, ".indices.bin")),
        lengths_(memory_map_file(prefix, ".lengths.bin")),
        offsets_(memory_map_file(prefix, ".offsets.bin")) {}

  void begin_entry() {
    if (!open_.empty()) {
      if (number_ == std::numeric_limits<uint32_t>::max())
        throw_input("the text has more entries than the index can hold");
      for (const Chunk& chunk : open_) {
        indices_.write(std::as_bytes(std::span(&number_, 1)));
        lengths_.write(std::as_bytes(std::span(&chunk.length, 1)));
        offsets_.write(std::as_bytes(std::span(&chunk.offset, 1)));
      }
      ++number_;
    }
    open_.clear();
    open_bytes_ = 0;
  }

  void add(uint64_t offset, uint64_t length) {
    open_.push_back({.offset = offset, .length = static_cast<uint16_t>(length)});
    open_bytes_ += length;
  }

  [[nodiscard]] uint64_t open_bytes() const { return open_bytes_; }

  void commit() {
    indices_.commit();
    lengths_.commit();
    offsets_.commit();
  }

 private:
  AtomicFile indices_;
  AtomicFile lengths_;
  AtomicFile offsets_;
  uint32_t number_ = 0;
  std::vector<Chunk> open_;
  uint64_t open_bytes_ = 0;
};

template <class T>
T record(const MappedFile& file, uint64_t index) {
  T value;
  std::memcpy(&value, file.bytes().data() + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

void build_aligned_index(const MemoryMap& map, const std::filesystem::path& prefix) {
  if (map.element_bytes() != 1) {
    throw_input("{}: holds elements of type {}, expected text (uint8)", prefix.string(), map.element_type());
  }
  IndexWriter writer(prefix);
  bool fresh = true;  // the next chunk begins an entry
  for (uint64_t document = 0; document < map.document_count(); ++document) {
    const std::string_view text = map.document(document);
    const uint64_t start = map.document_offset(document);
    uint64_t offset = 0;
    while (text.size() - offset > kTolerance) {
      const uint64_t rest = text.size() - offset;
      uint64_t length = std::min(kEntryBytes, rest);
      bool force = false;
      if (!fresh) {
        const uint64_t room = kEntryBytes - std::min(kEntryBytes, writer.open_bytes());
        if (room > kTolerance) {
          length = std::min(room, length);
          force = length == room;
        } else {
          fresh = true;
        }
      }
      // The cut byte is not part of the chunk; it begins the next one.
      const size_t cut = text.substr(offset, length).find_last_of(kCutBytes);
      if (cut == std::string_view::npos || cut == 0) {
        if (fresh) break;
        fresh = true;
        continue;
      }
      const std::string_view chunk = text.substr(offset, cut);
      offset += cut;
      if (!is_valid_utf8(chunk)) continue;
      if (fresh) writer.begin_entry();
      writer.add(start + offset - cut, cut);
      fresh = writer.open_bytes() >= kEntryBytes - kTolerance || force;
    }
  }
  writer.commit();
}

AlignedIndex AlignedIndex::open(const std::filesystem::path& prefix) {
  AlignedIndex index;
  index.data_ = MappedFile(memory_map_file(prefix, ".bin"));
  index.lengths_ = MappedFile(memory_map_file(prefix, ".lengths.bin"));
  index.offsets_ = MappedFile(memory_map_file(prefix, ".offsets.bin"));
  const MappedFile numbers(memory_map_file(prefix, ".indices.bin"), MappedFile::Access::kSequential);

  const std::string name = numbers.path().string();
  const uint64_t count = numbers.bytes().size() / sizeof(uint32_t);
  const auto check_size = [&](const MappedFile& file, uint64_t record_bytes) {
    if (file.bytes().size() != count * record_bytes) {
      throw_input("{}: {} bytes, expected {} for the {} chunks of {}; a file is cut short or belongs to another index",
                  file.path().string(), file.bytes().size(), count * record_bytes, count, name);
    }
  };
  check_size(numbers, sizeof(uint32_t));
  check_size(index.lengths_, sizeof(uint16_t));
  check_size(index.offsets_, sizeof(uint64_t));

  const uint64_t data_bytes = index.data_.bytes().size();
  for (uint64_t i = 0; i < count; ++i) {
    const auto number = record<uint32_t>(numbers, i);
    if (number == index.first_record_.size()) {
      index.first_record_.push_back(i);
    } else if (index.first_record_.empty() || number + uint64_t{1} != index.first_record_.size()) {
      throw_input("{}: chunk {} belongs to entry {}, expected {} or the one after it; the file is damaged", name, i,
                  number, index.first_record_.empty() ? 0 : index.first_record_.size() - 1);
    }
    const auto length = record<uint16_t>(index.lengths_, i);
    const auto offset = record<uint64_t>(index.offsets_, i);
    if (offset > data_bytes || length > data_bytes - offset) {
      throw_input("{}: chunk {} has {} bytes from byte {}, but {} holds only {}; the files do not belong together",
                  index.offsets_.path().string(), i, length, offset, index.data_.path().string(), data_bytes);
    }
  }
  index.first_record_.push_back(count);
  return index;
}

AlignedIndex AlignedIndex::open_or_build(const std::filesystem::path& prefix) {
  for (const char* suffix : {".indices.bin", ".lengths.bin", ".offsets.bin"}) {
    if (!std::filesystem::exists(memory_map_file(prefix, suffix))) {
      build_aligned_index(MemoryMap::open(prefix), prefix);
      break;
    }
  }
  return open(prefix);
}

std::vector<std::string_view> AlignedIndex::entry(uint64_t entry) const {
  VERBATIM_ASSERT(entry < entry_count(), "entry {} of {}", entry, entry_count());
  std::vector<std::string_view> texts;
  for (uint64_t i = first_record_[entry]; i < first_record_[entry + 1]; ++i) {
    texts.push_back(data_.text().substr(record<uint64_t>(offsets_, i), record<uint16_t>(lengths_, i)));
  }
  return texts;
}

}  // namespace verbatim
