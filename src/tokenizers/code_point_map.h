#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace verbatim {

// From characters to ids (-1: none): two loads per look-up, pages of 256 characters only where something is.
class CodePointMap {
 public:
  CodePointMap() : pages_(1) { pages_[0].fill(-1); }

  // At most U+10FFFF.
  void set(char32_t value, int32_t id) {
    uint16_t& page = page_of_[value >> 8];
    if (page == 0) {
      page = static_cast<uint16_t>(pages_.size());
      pages_.emplace_back().fill(-1);
    }
    pages_[page][value & 0xFF] = id;
  }
  [[nodiscard]] int32_t find(char32_t value) const {
    return value > 0x10FFFF ? -1 : pages_[page_of_[value >> 8]][value & 0xFF];
  }

 private:
  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<std::array<int32_t, 256>> pages_;  // [0] is empty
};

}  // namespace verbatim
