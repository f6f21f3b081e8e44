#include "words/md5.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace verbatim {
namespace {

static_assert(std::endian::native == std::endian::little, "words of the message are read as they lie in memory");

// floor(2^32 * |sin(i + 1)|), i in radians.
constexpr std::array<uint32_t, 64> kSines = {
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391};
constexpr std::array<std::array<int, 4>, 4> kRotations = {
    {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}};
constexpr Md5Digest kInitialState = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476};

// One block of 64 bytes. Word is a 32-bit number or a vector of them.
template <class Word>
[[gnu::always_inline]] inline void add_block(std::array<Word, 4>& state, const std::array<Word, 16>& block) {
  Word a = state[0], b = state[1], c = state[2], d = state[3];
#pragma GCC unroll 64
  for (size_t i = 0; i < 64; ++i) {
    Word mixed;
    size_t word;
    if (i < 16) {
      mixed = (b & c) | (~b & d);
      word = i;
    } else if (i < 32) {
      mixed = (d & b) | (~d & c);
      word = (5 * i + 1) % 16;
    } else if (i < 48) {
      mixed = b ^ c ^ d;
      word = (3 * i + 5) % 16;
    } else {
      mixed = c ^ (b | ~d);
      word = 7 * i % 16;
    }
    const Word sum = a + mixed + kSines[i] + block[word];
    const int rotation = kRotations[i / 16][i % 4];
    a = d;
    d = c;
    c = b;
    b += (sum << rotation) | (sum >> (32 - rotation));
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

}  // namespace

Md5Digest md5(std::string_view message) {
  Md5Digest state = kInitialState;
  std::array<uint32_t, 16> block;
  const uint64_t bits = uint64_t{8} * message.size();
  while (message.size() >= 64) {
    std::memcpy(block.data(), message.data(), 64);
    add_block(state, block);
    message.remove_prefix(64);
  }
  std::array<char, 128> rest{};
  message.copy(rest.data(), message.size());
  rest[message.size()] = static_cast<char>(0x80);
  const size_t padded = message.size() + 9 <= 64 ? 64 : 128;
  std::memcpy(rest.data() + padded - 8, &bits, 8);
  for (size_t begin = 0; begin < padded; begin += 64) {
    std::memcpy(block.data(), rest.data() + begin, 64);
    add_block(state, block);
  }
  return state;
}

void Md5Batch::set(size_t lane, std::string_view message) {
  VERBATIM_ASSERT(lane < kMd5Lanes && message.size() <= kMd5ShortBytes);
  std::array<char, 16> bytes{};
  message.copy(bytes.data(), message.size());
  bytes[message.size()] = static_cast<char>(0x80);
  std::array<uint32_t, 4> parts;
  std::memcpy(parts.data(), bytes.data(), 16);
  for (size_t w = 0; w < 4; ++w) words[w][lane] = parts[w];
  bits[lane] = static_cast<uint32_t>(8 * message.size());
}

void md5_batch(const Md5Batch& batch, Md5BatchDigest& digests) {
  // GCC cuts the vector into what the processor has.
  using Vector [[gnu::vector_size(4 * kMd5Lanes)]] = uint32_t;
  std::array<Vector, 16> block{};
  for (size_t w = 0; w < 4; ++w) std::memcpy(&block[w], batch.words[w].data(), sizeof(Vector));
  std::memcpy(&block[14], batch.bits.data(), sizeof(Vector));
  std::array<Vector, 4> state;
  for (size_t w = 0; w < 4; ++w) state[w] = Vector{} + kInitialState[w];
  add_block(state, block);
  for (size_t w = 0; w < 4; ++w) std::memcpy(digests[w].data(), &state[w], sizeof(Vector));
}

}  // namespace verbatim
