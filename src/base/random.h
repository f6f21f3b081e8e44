#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace verbatim {

// An explicit random number generator (xoshiro256++, seeded through splitmix64). A value: copying forks the stream,
// and state()/from_state() save and restore it exactly.
class Random {
 public:
  using result_type = uint64_t;

  explicit Random(uint64_t seed = 0);

  [[nodiscard]] static constexpr result_type min() { return 0; }
  [[nodiscard]] static constexpr result_type max() { return ~uint64_t{0}; }
  result_type operator()();

  // Uniform in [0, 1) with 53 bits.
  [[nodiscard]] double uniform();
  // Uniform in [0, bound) without bias; bound > 0.
  [[nodiscard]] uint64_t below(uint64_t bound);
  // Standard normal (Box-Muller, one value per call, no hidden second value).
  [[nodiscard]] double normal();

  // 64 hexadecimal digits.
  [[nodiscard]] std::string state() const;
  // Throws InputError when the text is not what state() writes.
  [[nodiscard]] static Random from_state(std::string_view text);

  friend bool operator==(const Random&, const Random&) = default;

 private:
  std::array<uint64_t, 4> words_;
};

// A well-mixed 64-bit hash of two numbers (splitmix64 finaliser): derives independent seeds from one seed.
[[nodiscard]] uint64_t mix_seed(uint64_t seed, uint64_t stream);

}  // namespace verbatim
