#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

// The plain twins of what hash.cc runs with special instructions where the processor has them. They define the result;
// tests compare both, and machines without the instructions use them.
namespace verbatim::portable {

// Feeds `num_blocks` blocks of 64 bytes into the state of SHA-256 (FIPS 180-4, section 6.2.2).
void sha256_blocks(std::array<uint32_t, 8>& state, const uint8_t* blocks, size_t num_blocks);

[[nodiscard]] uint32_t crc32c(std::string_view bytes);

}  // namespace verbatim::portable
