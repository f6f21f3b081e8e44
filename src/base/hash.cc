#include "base/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/hash_portable.h"
#include "base/mix.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace verbatim {
namespace {

static_assert(std::endian::native == std::endian::little, "hash128 loads words as they lie in memory");

__extension__ using Wide = unsigned __int128;

template <class T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

uint32_t load_big_endian(const uint8_t* bytes) { return __builtin_bswap32(load<uint32_t>(bytes)); }

const uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

alignas(16) constexpr std::array<uint32_t, 64> kSha256Rounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// Table t gives the remainder of a byte followed by t zero bytes, so that eight bytes cost eight independent look-ups.
constexpr auto kCrcTables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78u : 0u);
    tables[0][byte] = remainder;
  }
  for (size_t t = 1; t < 8; ++t) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t previous = tables[t - 1][byte];
      tables[t][byte] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}();

}  // namespace

namespace portable {

void sha256_blocks(std::array<uint32_t, 8>& state, const uint8_t* blocks, size_t num_blocks) {
  for (; num_blocks > 0; --num_blocks, blocks += 64) {
    std::array<uint32_t, 64> w;
    for (size_t t = 0; t < 16; ++t) w[t] = load_big_endian(blocks + 4 * t);
    for (size_t t = 16; t < 64; ++t) {
      const uint32_t x = w[t - 15];
      const uint32_t y = w[t - 2];
      w[t] = w[t - 16] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3)) + w[t - 7] +
             (std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10));
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (size_t t = 0; t < 64; ++t) {
      const uint32_t choice = (e & f) ^ (~e & g);
      const uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
      const uint32_t first =
          h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + choice + kSha256Rounds[t] + w[t];
      const uint32_t second = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + majority;
      h = g;
      g = f;
      f = e;
      e = d + first;
      d = c;
      c = b;
      b = a;
      a = first + second;
    }
    const std::array<uint32_t, 8> added = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state[i] += added[i];
  }
}

uint32_t crc32c(std::string_view bytes) {
  const uint8_t* data = bytes_of(bytes);
  size_t size = bytes.size();
  uint32_t crc = ~0u;
  for (; size >= 8; size -= 8, data += 8) {
    const uint64_t x = load<uint64_t>(data) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kCrcTables[7 - i][(x >> (8 * i)) & 0xFF];
  }
  for (; size > 0; --size, ++data) crc = (crc >> 8) ^ kCrcTables[0][(crc ^ *data) & 0xFF];
  return ~crc;
}

}  // namespace portable

namespace {

#if defined(__x86_64__)

// The instructions are chosen when the program runs, so that a package built for any machine is fast too.
bool has_sha_instructions() {
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0) return false;
  constexpr uint32_t kShaBit = 1u << 29;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kShaBit) != 0;
}

// The rounds instruction takes two words of message per step and wants the state as (A,B,E,F) and (C,D,G,H), first
// letter in the highest lane.
__attribute__((target("sha,sse4.1,ssse3"))) void sha256_blocks_sha(std::array<uint32_t, 8>& state,
                                                                   const uint8_t* blocks, size_t num_blocks) {
  const __m128i swap_bytes = _mm_set_epi64x(0x0C0D0E0F08090A0B, 0x0405060700010203);
  auto* memory = reinterpret_cast<__m128i*>(state.data());
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(memory), 0xB1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(memory + 1), 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  for (; num_blocks > 0; --num_blocks, blocks += 64) {
    const __m128i abef_before = abef;
    const __m128i cdgh_before = cdgh;
    __m128i w[4];  // the last sixteen words of the message schedule, four in each
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks) + i), swap_bytes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      __m128i& current = w[i & 3];
      __m128i sum = _mm_add_epi32(current, _mm_load_si128(reinterpret_cast<const __m128i*>(kSha256Rounds.data()) + i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      sum = _mm_shuffle_epi32(sum, 0x0E);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, sum);
      if (i < 12) {
        const __m128i seven_back = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
        current = _mm_add_epi32(_mm_sha256msg1_epu32(current, w[(i + 1) & 3]), seven_back);
        current = _mm_sha256msg2_epu32(current, w[(i + 3) & 3]);
      }
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(memory, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(memory + 1, _mm_alignr_epi8(dchg, feba, 8));
}

__attribute__((target("sse4.2"))) uint32_t crc32c_sse(std::string_view bytes) {
  const uint8_t* data = bytes_of(bytes);
  size_t size = bytes.size();
  uint64_t crc = ~0u;
  for (; size >= 8; size -= 8, data += 8) crc = _mm_crc32_u64(crc, load<uint64_t>(data));
  auto remainder = static_cast<uint32_t>(crc);
  for (; size > 0; --size, ++data) remainder = _mm_crc32_u8(remainder, *data);
  return ~remainder;
}

#endif

void sha256_blocks(std::array<uint32_t, 8>& state, const uint8_t* blocks, size_t num_blocks) {
#if defined(__x86_64__)
  static const bool use_instructions = has_sha_instructions();
  if (use_instructions) return sha256_blocks_sha(state, blocks, num_blocks);
#endif
  portable::sha256_blocks(state, blocks, num_blocks);
}

}  // namespace

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::update(std::string_view bytes) {
  const uint8_t* data = bytes_of(bytes);
  size_t size = bytes.size();
  total_ += size;
  if (block_size_ > 0) {
    const size_t taken = std::min(size, block_.size() - block_size_);
    std::copy_n(data, taken, block_.data() + block_size_);
    block_size_ += taken;
    data += taken;
    size -= taken;
    if (block_size_ < block_.size()) return;
    sha256_blocks(state_, block_.data(), 1);
    block_size_ = 0;
  }
  const size_t num_blocks = size / 64;
  if (num_blocks > 0) sha256_blocks(state_, data, num_blocks);
  block_size_ = size % 64;
  std::copy_n(data + num_blocks * 64, block_size_, block_.data());
}

std::array<uint8_t, 32> Sha256::finish() {
  const uint64_t num_bits = total_ * 8;
  // A one bit, zeros up to 8 bytes before the end of a block, the number of bits.
  std::array<char, 72> padding{};
  padding[0] = static_cast<char>(0x80);
  const size_t num_zeros = (119 - total_ % 64) % 64;
  for (size_t i = 0; i < 8; ++i) padding[1 + num_zeros + i] = static_cast<char>(num_bits >> (56 - 8 * i));
  update({padding.data(), num_zeros + 9});
  std::array<uint8_t, 32> digest;
  for (size_t i = 0; i < 32; ++i) digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return to_hex(hash.finish());
}

std::string to_hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

uint32_t crc32c(std::string_view bytes) {
#if defined(__x86_64__)
  static const bool use_instruction = __builtin_cpu_supports("sse4.2");
  if (use_instruction) return crc32c_sse(bytes);
#endif
  return portable::crc32c(bytes);
}

// hash128. The state of a lane is one number of 128 bits, (high, low). A step takes two words of the input:
//
//   a = high + first word + k,  b = low + second word + k'     (64 bits each, wrapping)
//   (high, low) = a * b + 2^64 * a + b = (a + 1) * (b + 2^64) - 2^64     (128 bits, wrapping)
//
// Unlike the bare product, this never forgets the past: neither factor of the right form is 0 modulo 2^128, and the
// difference of two results with the same a (or the same b) is a product that cannot be a multiple of 2^128. So inputs
// that differ in one word of a step always differ in the state after that step. High and low change places in every
// step because the low half of a product knows only the low bits of its factors.
//
// Four lanes hide the latency of the multiplication. Length and seed enter at the end. The lowest bits of a product are
// 0 more often than 1 and the highest ones lean too, so both halves pass through a bijection without such leanings.
namespace {

// The fraction of pi: numbers with nothing up the sleeve.
constexpr std::array<uint64_t, 8> kPi = {0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0,
                                         0x082EFA98EC4E6C89, 0x452821E638D01377, 0xBE5466CF34E90C6C,
                                         0xC0AC29B7C97C50DD, 0x3F84D5B5B5470917};

struct Lane {
  uint64_t low;
  uint64_t high;

  void step(uint64_t first, uint64_t second, size_t key) {
    const uint64_t a = high + first + kPi[2 * key];
    const uint64_t b = low + second + kPi[2 * key + 1];
    const Wide next = Wide{a} * b + (Wide{a} << 64 | b);
    low = static_cast<uint64_t>(next);
    high = static_cast<uint64_t>(next >> 64);
  }
  void step(const uint8_t* bytes, size_t key) { step(load<uint64_t>(bytes), load<uint64_t>(bytes + 8), key); }
};

}  // namespace

Hash128 hash128(std::string_view bytes, uint64_t seed) {
  const uint8_t* data = bytes_of(bytes);
  const size_t size = bytes.size();
  Lane lane = {.low = seed ^ kPi[0], .high = seed ^ kPi[5]};
  if (size > 64) {
    std::array<Lane, 4> lanes = {lane, lane, lane, lane};
    size_t position = 0;
    for (; size - position > 64; position += 64) {
      for (size_t i = 0; i < 4; ++i) lanes[i].step(data + position + 16 * i, i);
    }
    lane = lanes[0];
    for (size_t i = 1; i < 4; ++i) lane.step(lanes[i].low, lanes[i].high, i);
    // The last 64 bytes, some of them for the second time: no shorter remainder has to be treated.
    for (size_t i = 0; i < 4; ++i) lane.step(data + size - 64 + 16 * i, i);
  } else if (size >= 16) {
    for (size_t position = 0; position + 16 < size; position += 16) lane.step(data + position, position / 16);
    lane.step(data + size - 16, 3);
  } else if (size >= 8) {
    lane.step(load<uint64_t>(data), load<uint64_t>(data + size - 8), 0);
  } else if (size >= 4) {
    lane.step(load<uint32_t>(data), load<uint32_t>(data + size - 4), 0);
  } else if (size > 0) {
    lane.step(data[0] | uint64_t{data[size / 2]} << 8, data[size - 1], 0);
  }
  lane.step(size, seed, 1);
  lane.step(0, 0, 2);
  const uint64_t low = mix_bits(lane.low ^ std::rotl(lane.high, 32));
  return {.low = low, .high = mix_bits(lane.high + low)};
}

}  // namespace verbatim
