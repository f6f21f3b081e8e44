#include "base/hash.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/hash_portable.h"
#include "base/random.h"

namespace verbatim {
namespace {

std::string random_bytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

// NIST, Secure Hash Standard examples and the example values of FIPS 180-2.
const std::vector<std::pair<std::string, std::string>> kSha256Examples = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};

TEST(sha256, gives_the_digests_of_the_standard) {
  for (const auto& [text, digest] : kSha256Examples) EXPECT_EQ(sha256_hex(text), digest);
}

TEST(sha256, does_not_depend_on_how_the_bytes_are_cut) {
  Random random(1);
  const std::string bytes = random_bytes(random, 1000);
  const std::string expected = sha256_hex(bytes);
  for (int trial = 0; trial < 100; ++trial) {
    Sha256 hash;
    for (size_t start = 0; start < bytes.size();) {
      const size_t size = random.below(130);
      hash.update(std::string_view(bytes).substr(start, size));
      start += size;
    }
    EXPECT_EQ(to_hex(hash.finish()), expected);
  }
}

// The padding of the standard, block by block through the plain twin.
std::string plain_sha256_hex(std::string bytes) {
  const uint64_t num_bits = bytes.size() * 8;
  bytes.push_back(static_cast<char>(0x80));
  while (bytes.size() % 64 != 56) bytes.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(num_bits >> shift));
  std::array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  portable::sha256_blocks(state, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size() / 64);
  std::vector<uint8_t> digest;
  for (const uint32_t word : state) {
    for (int shift = 24; shift >= 0; shift -= 8) digest.push_back(static_cast<uint8_t>(word >> shift));
  }
  return to_hex(digest);
}

TEST(sha256, agrees_with_its_plain_twin_at_every_length) {
  for (const auto& [text, digest] : kSha256Examples) EXPECT_EQ(plain_sha256_hex(text), digest);
  Random random(2);
  for (size_t size = 0; size < 300; ++size) {
    const std::string bytes = random_bytes(random, size);
    EXPECT_EQ(sha256_hex(bytes), plain_sha256_hex(bytes)) << "size " << size;
  }
}

// RFC 3720, appendix B.4.
TEST(crc32c, gives_the_values_of_rfc_3720) {
  std::string rising;
  std::string falling;
  for (int i = 0; i < 32; ++i) {
    rising.push_back(static_cast<char>(i));
    falling.push_back(static_cast<char>(31 - i));
  }
  const std::vector<uint8_t> read_command = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                             0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
                                             0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
                                             0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  const std::vector<std::pair<std::string, uint32_t>> examples = {
      {std::string(32, '\0'), 0x8a9136aa},
      {std::string(32, '\xff'), 0x62a8ab43},
      {rising, 0x46dd794e},
      {falling, 0x113fdb5c},
      {std::string(read_command.begin(), read_command.end()), 0xd9963a56},
      {"123456789", 0xe3069283},  // the usual check value
      {"", 0}};
  for (const auto& [bytes, value] : examples) {
    EXPECT_EQ(crc32c(bytes), value);
    EXPECT_EQ(portable::crc32c(bytes), value);
  }
}

TEST(crc32c, agrees_with_its_plain_twin_at_every_length_and_address) {
  Random random(3);
  const std::string bytes = random_bytes(random, 300);
  for (size_t start = 0; start < 8; ++start) {
    for (size_t size = 0; size + start <= bytes.size(); ++size) {
      const std::string_view part = std::string_view(bytes).substr(start, size);
      ASSERT_EQ(crc32c(part), portable::crc32c(part)) << start << " " << size;
    }
  }
}

// hash128 once more, in the words of its definition: 128-bit arithmetic on the input cut into words.
Hash128 plain_hash128(const std::string& text, uint64_t seed) {
  __extension__ using Wide = unsigned __int128;
  constexpr uint64_t kPi[8] = {0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89,
                               0x452821E638D01377, 0xBE5466CF34E90C6C, 0xC0AC29B7C97C50DD, 0x3F84D5B5B5470917};
  const auto word = [&](size_t position, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= uint64_t{static_cast<uint8_t>(text[position + i])} << (8 * i);
    return value;
  };
  const auto step = [&](Wide state, uint64_t first, uint64_t second, size_t key) {
    const uint64_t a = static_cast<uint64_t>(state >> 64) + first + kPi[2 * key];
    const uint64_t b = static_cast<uint64_t>(state) + second + kPi[2 * key + 1];
    return (Wide{a} + 1) * (Wide{b} + (Wide{1} << 64)) - (Wide{1} << 64);
  };
  const auto step_at = [&](Wide state, size_t position, size_t key) {
    return step(state, word(position, 8), word(position + 8, 8), key);
  };
  const Wide start = Wide{seed ^ kPi[5]} << 64 | (seed ^ kPi[0]);
  const size_t size = text.size();
  Wide state = start;
  if (size > 64) {
    Wide lanes[4] = {start, start, start, start};
    for (size_t position = 0; position + 64 < size; position += 64) {
      for (size_t i = 0; i < 4; ++i) lanes[i] = step_at(lanes[i], position + 16 * i, i);
    }
    state = lanes[0];
    for (size_t i = 1; i < 4; ++i) {
      state = step(state, static_cast<uint64_t>(lanes[i]), static_cast<uint64_t>(lanes[i] >> 64), i);
    }
    for (size_t i = 0; i < 4; ++i) state = step_at(state, size - 64 + 16 * i, i);
  } else if (size >= 16) {
    for (size_t i = 0; 16 * (i + 1) < size; ++i) state = step_at(state, 16 * i, i);
    state = step_at(state, size - 16, 3);
  } else if (size >= 8) {
    state = step(state, word(0, 8), word(size - 8, 8), 0);
  } else if (size >= 4) {
    state = step(state, word(0, 4), word(size - 4, 4), 0);
  } else if (size > 0) {
    state = step(state, word(0, 1) | word(size / 2, 1) << 8, word(size - 1, 1), 0);
  }
  state = step(step(state, size, seed, 1), 0, 0, 2);
  const auto finalise = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  };
  const auto state_low = static_cast<uint64_t>(state);
  const auto state_high = static_cast<uint64_t>(state >> 64);
  const uint64_t low = finalise(state_low ^ (state_high << 32 | state_high >> 32));
  return {.low = low, .high = finalise(state_high + low)};
}

TEST(hash128, agrees_with_its_definition_at_every_length) {
  Random random(4);
  for (size_t size = 0; size < 400; ++size) {
    const std::string bytes = random_bytes(random, size);
    const uint64_t seed = random.below(3);
    EXPECT_EQ(hash128(bytes, seed), plain_hash128(bytes, seed)) << "size " << size;
  }
}

// Frozen: files store these hashes, so a change of the function would make old files wrong.
TEST(hash128, stays_the_same_over_versions) {
  const auto hex = [](const Hash128& hash) {
    std::vector<uint8_t> bytes(16);
    std::memcpy(bytes.data(), &hash.low, 8);
    std::memcpy(bytes.data() + 8, &hash.high, 8);
    return to_hex(bytes);
  };
  EXPECT_EQ(hex(hash128("")), "4519333c6726070e9d5530d3895338a7");
  EXPECT_EQ(hex(hash128("verbatim")), "d08b7361fe015529af0f50167bb4f079");
  EXPECT_EQ(hex(hash128(std::string(1000, 'v'), 7)), "9cbe623358ae2c64093adc2292cea12f");
}

TEST(hash128, tells_apart_lengths_of_zeros_and_seeds) {
  std::set<std::pair<uint64_t, uint64_t>> seen;
  const std::string zeros(400, '\0');
  for (size_t size = 0; size <= zeros.size(); ++size) {
    for (const uint64_t seed : {0, 1, 2}) {
      const Hash128 hash = hash128(std::string_view(zeros).substr(0, size), seed);
      EXPECT_TRUE(seen.emplace(hash.low, hash.high).second) << "size " << size << ", seed " << seed;
    }
  }
}

TEST(hash128, flips_every_bit_half_of_the_time) {
  Random random(5);
  constexpr int kTrials = 2000;
  for (const size_t size : {5u, 8u, 13u, 16u, 40u, 64u, 65u, 130u}) {
    std::array<int, 128> flips{};
    int num_flips = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::string bytes = random_bytes(random, size);
      const Hash128 before = hash128(bytes);
      const size_t bit = random.below(8 * size);
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      const Hash128 after = hash128(bytes);
      for (size_t i = 0; i < 64; ++i) {
        flips[i] += static_cast<int>((before.low ^ after.low) >> i & 1);
        flips[64 + i] += static_cast<int>((before.high ^ after.high) >> i & 1);
      }
    }
    for (const int count : flips) {
      num_flips += count;
      EXPECT_NEAR(count, kTrials / 2, 5.5 * 22.4) << "size " << size;  // 5.5 standard deviations
    }
    EXPECT_NEAR(num_flips, 64 * kTrials, 5 * 253);
  }
}

TEST(hash128, spreads_similar_short_keys_over_each_half) {
  // 30,000 numbers in 32 bits: 0.1 collisions are expected by chance in any 32 bits of a good hash.
  for (const int shift : {0, 32}) {
    std::set<uint32_t> low;
    std::set<uint32_t> high;
    for (int i = 0; i < 30'000; ++i) {
      const Hash128 hash = hash128(std::to_string(i));
      low.insert(static_cast<uint32_t>(hash.low >> shift));
      high.insert(static_cast<uint32_t>(hash.high >> shift));
    }
    EXPECT_GT(low.size(), 29'994u);
    EXPECT_GT(high.size(), 29'994u);
  }
}

}  // namespace
}  // namespace verbatim
