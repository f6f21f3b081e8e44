#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace verbatim {

// Where blocks end when the text decides and not the count: so that an insertion changes the blocks around it and not
// all that follow.
struct BorderOptions {
  bool words = false;    // behind words; false: where a hash of the text says so
  uint32_t minimum = 0;  // units in a block but the last one; 0: a quarter of the maximum, at least 1; with words 2
  uint32_t maximum = 0;  // 0: as many as the chain has room for
  uint32_t spacing = 0;  // one unit in `spacing` is a place for a border, by its hash; 0: half of the maximum
  uint32_t window = 4;   // units that are hashed: the last one of a block and those before it; 1 to 64
  uint64_t seed = 0;     // another seed, other places
};

// Fills in what is 0, for blocks of `room` units. Throws InputError for limits that no block can keep.
[[nodiscard]] BorderOptions complete_borders(BorderOptions options, uint32_t room);

// Walks through a text unit by unit and says after which ones a block ends.
//
// A place for a border is where hash(the last `window` units) < 2^64 / spacing; units before the text count as 0. With
// words it is behind every unit that is no letter, mark or number: a word and the space or comma behind it are a block.
// A block ends at the first such place at which it has `minimum` units, or with `maximum` units.
//
// Causal: whether a block ends behind a unit depends on nothing behind it. Places depend on `window` units only, so two
// texts that agree from some unit on have equal blocks from the first place on at which blocks of both end; with
// minimum = maximum / 4 that is usually the first or second border.
class BorderFinder {
 public:
  // `options` without zeros (complete_borders), for blocks of at most options.maximum units.
  explicit BorderFinder(const BorderOptions& options);

  // The next unit of the text; true when a block ends behind it.
  bool ends_block(char32_t unit);

 private:
  [[nodiscard]] bool is_place(char32_t unit) const;

  BorderOptions options_;
  uint64_t most_hash_ = 0;
  uint64_t factor_out_ = 1;  // what the oldest unit of the window has been multiplied by
  uint64_t state_ = 0;
  std::vector<char32_t> recent_;  // [window] the last units, in a ring
  size_t oldest_ = 0;
  uint32_t length_ = 0;  // units in the block so far
};

}  // namespace verbatim
