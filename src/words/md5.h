#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace verbatim {

// MD5 (RFC 1321), the random function behind the rows of T-Free. Not for security.

// The four words of the state; the digest as usually printed is their bytes, least significant first.
using Md5Digest = std::array<uint32_t, 4>;

[[nodiscard]] Md5Digest md5(std::string_view message);

// Several short messages at once, a message per SIMD lane.
inline constexpr size_t kMd5Lanes = 16;
inline constexpr size_t kMd5ShortBytes = 15;

struct Md5Batch {
  // Message `lane` must have at most kMd5ShortBytes bytes.
  void set(size_t lane, std::string_view message);

  alignas(64) std::array<std::array<uint32_t, kMd5Lanes>, 4> words{};  // message bytes 4w..4w+3, with the padding
  alignas(64) std::array<uint32_t, kMd5Lanes> bits{};                  // length of the message
};

// [4][kMd5Lanes]: word w of the digest of each lane.
using Md5BatchDigest = std::array<std::array<uint32_t, kMd5Lanes>, 4>;
void md5_batch(const Md5Batch& batch, Md5BatchDigest& digests);

}  // namespace verbatim
