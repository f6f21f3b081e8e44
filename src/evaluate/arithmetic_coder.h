#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Turns a model's probabilities into bits and back: the proof that a likelihood is one. Integer arithmetic coding with
// carry-free renormalisation (Witten, Neal and Cleary 1987), 32-bit interval.
namespace verbatim {

// Whole-number frequencies of symbols, all at least 1, from probabilities that sum to 1 up to rounding; the same on
// both sides when the probabilities are the same bits. At most 2^22 symbols.
class Frequencies {
 public:
  explicit Frequencies(std::span<const double> probabilities);
  [[nodiscard]] uint32_t total() const { return cumulative_.back(); }
  [[nodiscard]] uint32_t begin(size_t symbol) const { return cumulative_[symbol]; }
  [[nodiscard]] uint32_t end(size_t symbol) const { return cumulative_[symbol + 1]; }
  // The symbol whose range holds `value` < total().
  [[nodiscard]] size_t find(uint32_t value) const;
  // What a symbol costs with these frequencies, in bits.
  [[nodiscard]] double bits(size_t symbol) const;

 private:
  std::vector<uint32_t> cumulative_;
};

class ArithmeticEncoder {
 public:
  void encode(const Frequencies& frequencies, size_t symbol);
  // The coded bytes; the encoder is used up.
  [[nodiscard]] std::string finish();

 private:
  void put(bool bit);
  void put_with_pending(bool bit);

  uint64_t low_ = 0, high_ = 0xFFFFFFFF;
  uint64_t pending_ = 0;
  uint8_t byte_ = 0;
  int filled_ = 0;
  std::string out_;
};

class ArithmeticDecoder {
 public:
  // The view must stay valid.
  explicit ArithmeticDecoder(std::string_view bytes);
  [[nodiscard]] size_t decode(const Frequencies& frequencies);

 private:
  [[nodiscard]] uint64_t next_bit();

  std::string_view bytes_;
  size_t position_ = 0;
  int bit_ = 0;
  uint64_t low_ = 0, high_ = 0xFFFFFFFF, value_ = 0;
};

}  // namespace verbatim
