#include "evaluate/arithmetic_coder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace verbatim {

namespace {

constexpr uint64_t kHalf = uint64_t{1} << 31;
constexpr uint64_t kQuarter = uint64_t{1} << 30;
// Frequencies of probable symbols; every symbol has one more. The total must stay well below a quarter of the interval.
constexpr double kScale = 1 << 24;

}  // namespace

Frequencies::Frequencies(std::span<const double> probabilities) {
  VERBATIM_ASSERT(!probabilities.empty() && probabilities.size() <= (size_t{1} << 22), "{} symbols",
                  probabilities.size());
  cumulative_.reserve(probabilities.size() + 1);
  cumulative_.push_back(0);
  for (const double probability : probabilities) {
    const double share = std::isfinite(probability) ? std::clamp(probability, 0.0, 1.0) : 0.0;
    cumulative_.push_back(cumulative_.back() + 1 + static_cast<uint32_t>(share * kScale));
  }
}

size_t Frequencies::find(uint32_t value) const {
  return static_cast<size_t>(std::upper_bound(cumulative_.begin(), cumulative_.end(), value) - cumulative_.begin()) - 1;
}

double Frequencies::bits(size_t symbol) const {
  return -std::log2(static_cast<double>(end(symbol) - begin(symbol)) / static_cast<double>(total()));
}

void ArithmeticEncoder::put(bool bit) {
  byte_ = static_cast<uint8_t>(byte_ << 1 | (bit ? 1 : 0));
  if (++filled_ < 8) return;
  out_.push_back(static_cast<char>(byte_));
  byte_ = 0;
  filled_ = 0;
}

void ArithmeticEncoder::put_with_pending(bool bit) {
  put(bit);
  for (; pending_ > 0; --pending_) put(!bit);
}

void ArithmeticEncoder::encode(const Frequencies& frequencies, size_t symbol) {
  const uint64_t range = high_ - low_ + 1;
  high_ = low_ + range * frequencies.end(symbol) / frequencies.total() - 1;
  low_ = low_ + range * frequencies.begin(symbol) / frequencies.total();
  while (true) {
    if (high_ < kHalf) {
      put_with_pending(false);
    } else if (low_ >= kHalf) {
      put_with_pending(true);
      low_ -= kHalf;
      high_ -= kHalf;
    } else if (low_ >= kQuarter && high_ < 3 * kQuarter) {
      ++pending_;
      low_ -= kQuarter;
      high_ -= kQuarter;
    } else {
      return;
    }
    low_ *= 2;
    high_ = 2 * high_ + 1;
  }
}

std::string ArithmeticEncoder::finish() {
  // Two more bits name a number inside the interval; the decoder reads zeros behind the end.
  ++pending_;
  put_with_pending(low_ >= kQuarter);
  while (filled_ != 0) put(false);
  return std::move(out_);
}

ArithmeticDecoder::ArithmeticDecoder(std::string_view bytes) : bytes_(bytes) {
  for (int i = 0; i < 32; ++i) value_ = value_ << 1 | next_bit();
}

uint64_t ArithmeticDecoder::next_bit() {
  if (position_ >= bytes_.size()) return 0;
  const uint64_t bit = static_cast<uint8_t>(bytes_[position_]) >> (7 - bit_) & 1;
  if (++bit_ == 8) {
    bit_ = 0;
    ++position_;
  }
  return bit;
}

size_t ArithmeticDecoder::decode(const Frequencies& frequencies) {
  const uint64_t range = high_ - low_ + 1;
  const uint64_t total = frequencies.total();
  const auto place = static_cast<uint32_t>(((value_ - low_ + 1) * total - 1) / range);
  const size_t symbol = frequencies.find(place);
  high_ = low_ + range * frequencies.end(symbol) / total - 1;
  low_ = low_ + range * frequencies.begin(symbol) / total;
  while (true) {
    if (high_ < kHalf) {
    } else if (low_ >= kHalf) {
      low_ -= kHalf;
      high_ -= kHalf;
      value_ -= kHalf;
    } else if (low_ >= kQuarter && high_ < 3 * kQuarter) {
      low_ -= kQuarter;
      high_ -= kQuarter;
      value_ -= kQuarter;
    } else {
      return symbol;
    }
    low_ *= 2;
    high_ = 2 * high_ + 1;
    value_ = 2 * value_ | next_bit();
  }
}

}  // namespace verbatim
