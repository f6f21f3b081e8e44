#include "base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/mix.h"

namespace verbatim {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : words_) {
    seed += kGoldenRatio;
    word = mix_bits(seed);
  }
}

// Blackman, Vigna: Scrambled linear pseudorandom number generators (2021), xoshiro256++.
Random::result_type Random::operator()() {
  auto& s = words_;
  const uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  const uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = std::rotl(s[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

// Lemire: Fast random integer generation in an interval (2019): a product instead of a division, and a retry where the
// lowest part of the range would come up too often.
uint64_t Random::below(uint64_t bound) {
  VERBATIM_ASSERT(bound > 0, "Random::below(0)");
  Wide product = Wide{(*this)()} * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t threshold = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < threshold) product = Wide{(*this)()} * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - uniform() is never 0
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::string Random::state() const {
  return fmt::format("{:016x}{:016x}{:016x}{:016x}", words_[0], words_[1], words_[2], words_[3]);
}

Random Random::from_state(std::string_view text) {
  const auto refuse = [](std::string_view found) {
    throw_input(
        "generator state: expected 64 lower-case hexadecimal digits that are not all 0, got {}; the file that "
        "holds it is damaged",
        found);
  };
  if (text.size() != 64) refuse(fmt::format("{} characters", text.size()));
  Random random;
  for (size_t word = 0; word < 4; ++word) {
    uint64_t value = 0;
    for (const char c : text.substr(word * 16, 16)) {
      const bool is_digit = c >= '0' && c <= '9';
      if (!is_digit && (c < 'a' || c > 'f')) refuse("another character");
      value = value << 4 | static_cast<uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
    }
    random.words_[word] = value;
  }
  // The one state that the generator never leaves.
  if (std::all_of(random.words_.begin(), random.words_.end(), [](uint64_t word) { return word == 0; }))
    refuse("only 0");
  return random;
}

uint64_t mix_seed(uint64_t seed, uint64_t stream) {
  // The inner finaliser separates neighbouring streams, the outer one neighbouring seeds.
  return mix_bits(seed + kGoldenRatio + mix_bits(stream + kGoldenRatio));
}

}  // namespace verbatim
