#include "formats/stored_zip.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/text_format.h"

namespace verbatim {
namespace {

constexpr uint32_t kLocalHeader = 0x04034B50;
constexpr uint32_t kCentralHeader = 0x02014B50;
constexpr uint32_t kEnd = 0x06054B50;
constexpr uint32_t kEnd64 = 0x06064B50;
constexpr uint32_t kEnd64Locator = 0x07064B50;

constexpr uint64_t kLocalHeaderBytes = 30;
constexpr uint64_t kCentralHeaderBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kEnd64LocatorBytes = 20;
constexpr uint64_t kLongestComment = 0xFFFF;

constexpr uint16_t kZip64Field = 1;
constexpr uint16_t kEncrypted = 1;        // flag
constexpr uint64_t kIn64Bits16 = 0xFFFF;  // such a value means: look into the zip64 record
constexpr uint64_t kIn64Bits = 0xFFFFFFFF;

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  // The number of `size` bytes at `place`, little endian; the place has been checked.
  [[nodiscard]] uint64_t number(uint64_t place, size_t size) const {
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes_[place + i]);
    return value;
  }

  [[nodiscard]] std::string_view text(uint64_t place, uint64_t size) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + place, size};
  }

  void check_range(uint64_t begin, uint64_t size, uint64_t end, std::string_view what) const {
    if (begin > end || size > end - begin) {
      throw_input("{}: expected {} of {} bytes at byte {}, got the end at byte {}; the file is cut short or damaged",
                  name_, what, size, begin, end);
    }
  }

  void check_signature(uint64_t place, uint32_t signature, std::string_view what) const {
    if (number(place, 4) != signature) {
      throw_input("{}: expected {} at byte {}, got {}; the file is damaged", name_, what, place,
                  quote_bytes(text(place, 4)));
    }
  }

  [[nodiscard]] uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] std::span<const std::byte> part(uint64_t begin, uint64_t size) const {
    return bytes_.subspan(begin, size);
  }
  [[nodiscard]] std::string_view name() const { return name_; }

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
};

struct Directory {
  uint64_t count = 0;
  uint64_t bytes = 0;
  uint64_t begin = 0;
};

// The record at the end; behind it there may be a comment that reaches exactly to the end of the file.
uint64_t find_end(const Reader& reader) {
  if (reader.size() >= kEndBytes) {
    const uint64_t last = reader.size() - kEndBytes;
    const uint64_t first = last - std::min(last, kLongestComment);
    for (uint64_t place = last + 1; place-- > first;) {
      if (reader.number(place, 4) == kEnd && place + kEndBytes + reader.number(place + 20, 2) == reader.size()) {
        return place;
      }
    }
  }
  throw_input(
      "{}: expected a ZIP archive with a directory at its end, got none in {} bytes; the file is cut short or "
      "of another kind",
      reader.name(), reader.size());
}

Directory find_directory(const Reader& reader) {
  const uint64_t end = find_end(reader);
  Directory directory{
      .count = reader.number(end + 10, 2), .bytes = reader.number(end + 12, 4), .begin = reader.number(end + 16, 4)};
  uint64_t limit = end;
  uint64_t disk = reader.number(end + 4, 2);
  uint64_t directory_disk = reader.number(end + 6, 2);
  uint64_t count_here = reader.number(end + 8, 2);
  const bool has_locator = end >= kEnd64LocatorBytes && reader.number(end - kEnd64LocatorBytes, 4) == kEnd64Locator;
  if (has_locator) {
    const uint64_t locator = end - kEnd64LocatorBytes;
    const uint64_t place = reader.number(locator + 8, 8);
    reader.check_range(place, kEnd64Bytes, locator, "the zip64 record");
    reader.check_signature(place, kEnd64, "the zip64 record");
    disk = reader.number(place + 16, 4);
    directory_disk = reader.number(place + 20, 4);
    count_here = reader.number(place + 24, 8);
    directory = {.count = reader.number(place + 32, 8),
                 .bytes = reader.number(place + 40, 8),
                 .begin = reader.number(place + 48, 8)};
    limit = place;
  } else if (directory.count == kIn64Bits16 || directory.bytes == kIn64Bits || directory.begin == kIn64Bits) {
    throw_input("{}: expected a zip64 record before the end, got none; the file is damaged", reader.name());
  }
  if (disk != 0 || directory_disk != 0 || count_here != directory.count) {
    throw_input("{}: expected an archive in one part, got a part of several; join them first", reader.name());
  }
  reader.check_range(directory.begin, directory.bytes, limit, "the directory");
  return directory;
}

// One entry of the directory.
struct Entry {
  std::string name;
  uint64_t size = 0;
  uint64_t stored_size = 0;
  uint64_t header = 0;
  uint64_t flags = 0;
  uint64_t method = 0;
  uint64_t next = 0;  // where the next entry of the directory begins
};

// Sizes and places that did not fit into 32 bits: they follow in the extra field, in this order, and only those.
void read_zip64_field(const Reader& reader, uint64_t place, uint64_t end, Entry& entry) {
  for (uint64_t* const number : {&entry.size, &entry.stored_size, &entry.header}) {
    if (*number != kIn64Bits) continue;
    reader.check_range(place, 8, end, "a number of the zip64 field");
    *number = reader.number(place, 8);
    place += 8;
  }
}

Entry read_entry(const Reader& reader, uint64_t place, uint64_t end) {
  reader.check_range(place, kCentralHeaderBytes, end, "an entry of the directory");
  reader.check_signature(place, kCentralHeader, "an entry of the directory");
  const uint64_t name_bytes = reader.number(place + 28, 2);
  const uint64_t extra_bytes = reader.number(place + 30, 2);
  const uint64_t comment_bytes = reader.number(place + 32, 2);
  const uint64_t name_place = place + kCentralHeaderBytes;
  reader.check_range(name_place, name_bytes + extra_bytes + comment_bytes, end, "the name of an entry");
  Entry entry{.name = std::string(reader.text(name_place, name_bytes)),
              .size = reader.number(place + 24, 4),
              .stored_size = reader.number(place + 20, 4),
              .header = reader.number(place + 42, 4),
              .flags = reader.number(place + 8, 2),
              .method = reader.number(place + 10, 2),
              .next = name_place + name_bytes + extra_bytes + comment_bytes};
  uint64_t field = name_place + name_bytes;
  const uint64_t fields_end = field + extra_bytes;
  while (fields_end - field >= 4) {
    const uint64_t field_bytes = reader.number(field + 2, 2);
    reader.check_range(field + 4, field_bytes, fields_end, "an extra field");
    if (reader.number(field, 2) == kZip64Field) {
      read_zip64_field(reader, field + 4, field + 4 + field_bytes, entry);
    }
    field += 4 + field_bytes;
  }
  return entry;
}

// Where the bytes of an entry begin. Sizes in the header before them may be missing: the directory counts.
uint64_t check_header(const Reader& reader, const Entry& entry, uint64_t end, const std::string& where) {
  if ((entry.flags & kEncrypted) != 0) throw_input("{}: expected plain bytes, got an encrypted file", where);
  if (entry.method != 0) {
    throw_input(
        "{}: expected stored bytes (method 0), got compression method {}; unpack the archive and store it again "
        "without compression",
        where, entry.method);
  }
  if (entry.size != entry.stored_size) {
    throw_input("{}: expected as many stored bytes as the file has, {}, got {}; the file is damaged", where, entry.size,
                entry.stored_size);
  }
  reader.check_range(entry.header, kLocalHeaderBytes, end, "the header of " + quote_bytes(entry.name));
  reader.check_signature(entry.header, kLocalHeader, "the header of " + quote_bytes(entry.name));
  const uint64_t name_bytes = reader.number(entry.header + 26, 2);
  const uint64_t extra_bytes = reader.number(entry.header + 28, 2);
  const uint64_t begin = entry.header + kLocalHeaderBytes + name_bytes + extra_bytes;
  reader.check_range(entry.header + kLocalHeaderBytes, name_bytes + extra_bytes, end,
                     "the name of " + quote_bytes(entry.name));
  const std::string_view name = reader.text(entry.header + kLocalHeaderBytes, name_bytes);
  if (name != entry.name || reader.number(entry.header + 8, 2) != entry.method) {
    throw_input("{}: expected the same name and method as in the directory, got {} and method {}; the file is damaged",
                where, quote_bytes(name), reader.number(entry.header + 8, 2));
  }
  reader.check_range(begin, entry.size, end, "the file " + quote_bytes(entry.name));
  return begin;
}

}  // namespace

StoredZip StoredZip::parse(std::span<const std::byte> bytes, std::string_view name) {
  const Reader reader(bytes, name);
  const Directory directory = find_directory(reader);
  const uint64_t directory_end = directory.begin + directory.bytes;
  StoredZip zip;
  std::vector<std::tuple<uint64_t, uint64_t, std::string>> ranges;  // begin, end, name
  uint64_t place = directory.begin;
  for (uint64_t i = 0; i < directory.count; ++i) {
    const Entry entry = read_entry(reader, place, directory_end);
    place = entry.next;
    const std::string where = fmt::format("{}: file {}", name, quote_bytes(entry.name));
    const uint64_t begin = check_header(reader, entry, directory.begin, where);
    ranges.emplace_back(entry.header, begin + entry.size, entry.name);
    if (!zip.files_.try_emplace(entry.name, reader.part(begin, entry.size)).second) {
      throw_input("{}: expected its name once, got it twice; the file is damaged", where);
    }
  }
  if (place != directory_end) {
    throw_input("{}: expected a directory of {} bytes for {} files, got {} bytes; the file is damaged", name,
                place - directory.begin, directory.count, directory.bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (std::get<0>(ranges[i]) < std::get<1>(ranges[i - 1])) {
      throw_input("{}: expected files that do not overlap, got {} inside {}; the file is damaged", name,
                  quote_bytes(std::get<2>(ranges[i])), quote_bytes(std::get<2>(ranges[i - 1])));
    }
  }
  return zip;
}

}  // namespace verbatim
