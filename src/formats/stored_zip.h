#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace verbatim {

// The files inside a ZIP archive that stores them as they are (method 0), as views into the archive.
//
// Goals: what is accepted has every file inside the archive, whole and without overlap; archives beyond 4 GiB (zip64).
// Not here: compression, encryption, archives in several parts. The checksums are not compared: that would read every
// page of a large archive, and torch can be told to write none.
// Source: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3.
class StoredZip {
 public:
  // `bytes` must outlive the archive; `name` is for messages. Throws InputError for everything that does not fit.
  [[nodiscard]] static StoredZip parse(std::span<const std::byte> bytes, std::string_view name);

  // By their names in the archive.
  [[nodiscard]] const std::map<std::string, std::span<const std::byte>, std::less<>>& files() const { return files_; }

 private:
  std::map<std::string, std::span<const std::byte>, std::less<>> files_;
};

}  // namespace verbatim
