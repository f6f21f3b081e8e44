#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "words/md5.h"

namespace verbatim {

// Trigrams are numbered by their bytes, the first one least significant.
inline constexpr size_t kTrigrams = size_t{1} << 24;

[[nodiscard]] inline uint32_t trigram_number(const char* bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  return byte(0) | byte(1) << 8 | byte(2) << 16;
}

// A digest, read as a 128-bit number with the first byte most significant, modulo a fixed number.
class DigestModulus {
 public:
  // `modulus` in [1, 2^31].
  explicit DigestModulus(uint32_t modulus);

  [[nodiscard]] int32_t operator()(uint32_t word0, uint32_t word1, uint32_t word2, uint32_t word3) const {
    // The powers are below 2^31, so two products with 32-bit numbers fit into 64 bits.
    const uint64_t high = (__builtin_bswap32(word0) * powers_[2] + __builtin_bswap32(word1) * powers_[1]) % modulus_;
    return static_cast<int32_t>((__builtin_bswap32(word2) * powers_[0] + __builtin_bswap32(word3) + high) % modulus_);
  }
  [[nodiscard]] int32_t operator()(const Md5Digest& digest) const {
    return (*this)(digest[0], digest[1], digest[2], digest[3]);
  }

 private:
  uint64_t modulus_;
  uint64_t powers_[3];  // 2^32, 2^64, 2^96
};

// The rows of trigrams before any sharing: `ids_per_trigram` distinct ids in [0, vocabulary), ascending, drawn by MD5
// (T-Free specification, section 2.2). Nothing else goes in, so all models of one size have the same rows.
class TrigramRows {
 public:
  // Throws InputError when no row can have that many distinct ids.
  TrigramRows(uint32_t vocabulary, uint32_t ids_per_trigram);

  // [trigrams.size() * ids_per_trigram]
  void compute(std::span<const uint32_t> trigrams, int32_t* ids) const;

 private:
  void make_distinct(uint32_t trigram, int32_t* row) const;

  DigestModulus modulus_;
  uint32_t ids_per_trigram_;
};

}  // namespace verbatim
