#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace verbatim {

// SHA-256 (FIPS 180-4), incremental.
class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  // 32 bytes; the object must not be updated afterwards.
  [[nodiscard]] std::array<uint8_t, 32> finish();

 private:
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> block_{};
  size_t block_size_ = 0;
  uint64_t total_ = 0;
};

// The digest as 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);
[[nodiscard]] std::string to_hex(std::span<const uint8_t> bytes);

// CRC-32C (Castagnoli), as TensorBoard's records use it.
[[nodiscard]] uint32_t crc32c(std::string_view bytes);

// A fast 128-bit hash for tables and exact-duplicate detection; stable across machines and versions. Not for security.
struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
[[nodiscard]] Hash128 hash128(std::string_view bytes, uint64_t seed = 0);

}  // namespace verbatim
