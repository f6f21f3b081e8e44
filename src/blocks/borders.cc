#include "blocks/borders.h"

#include <algorithm>

#include "base/error.h"
#include "base/mix.h"
#include "text/unicode.h"

namespace verbatim {
namespace {

constexpr uint32_t kMostWindow = 64;
// Odd, so that no unit of the window loses bits; the golden ratio of 2^64.
constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;

}  // namespace

BorderOptions complete_borders(BorderOptions options, uint32_t room) {
  VERBATIM_ASSERT(room > 0, "a block without room");
  if (options.maximum == 0) options.maximum = room;
  if (options.minimum == 0) {
    options.minimum =
        options.words ? std::min<uint32_t>(2, options.maximum) : std::max<uint32_t>(1, options.maximum / 4);
  }
  if (options.spacing == 0) options.spacing = std::max<uint32_t>(1, options.maximum / 2);
  if (options.maximum > room) {
    throw_input(
        "borders by content: maximum is {} characters, but a block has room for {}; lower it or take a longer "
        "chain",
        options.maximum, room);
  }
  if (options.minimum > options.maximum) {
    throw_input("borders by content: minimum is {} characters, more than the maximum of {}", options.minimum,
                options.maximum);
  }
  if (options.window == 0 || options.window > kMostWindow) {
    throw_input("borders by content: window is {} characters, expected 1 to {}", options.window, kMostWindow);
  }
  return options;
}

// The state is a polynomial of the units in the window, modulo 2^64: sum of unit * kFactor^age. One multiplication
// brings a unit in and ages the others, one takes the oldest out (Karp, Rabin: Efficient randomized pattern-matching
// algorithms, 1987). Its high bits alone depend on all units, hence the mixing.
BorderFinder::BorderFinder(const BorderOptions& options) : options_(options), recent_(options.window) {
  VERBATIM_ASSERT(
      options.minimum >= 1 && options.maximum >= options.minimum && options.spacing >= 1 && options.window >= 1,
      "borders are not complete");
  most_hash_ = ~uint64_t{0} / options.spacing;
  for (uint32_t i = 0; i < options.window; ++i) factor_out_ *= kFactor;
}

bool BorderFinder::is_place(char32_t unit) const {
  if (options_.words) return (character_classes(unit) & (kLetter | kMark | kNumber)) == 0;
  return mix_bits(state_ + options_.seed * kFactor) <= most_hash_;
}

bool BorderFinder::ends_block(char32_t unit) {
  state_ = state_ * kFactor + unit - recent_[oldest_] * factor_out_;
  recent_[oldest_] = unit;
  if (++oldest_ == recent_.size()) oldest_ = 0;
  ++length_;
  if (length_ < options_.minimum) return false;
  if (length_ < options_.maximum && !is_place(unit)) return false;
  length_ = 0;
  return true;
}

}  // namespace verbatim
