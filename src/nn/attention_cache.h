#pragma once

#include <cstdint>
#include <vector>

namespace verbatim::nn {

// Keys and values of one attention layer for one stream, float32, rotary already applied. With a window it is a ring of
// `window` rows, else it grows. A value: copying forks the stream.
struct AttentionCache {
  std::vector<float> keys;    // [capacity, G d]
  std::vector<float> values;  // [capacity, G d]
  int64_t rows = 0;           // rows seen so far; row r lies at slot r (mod window)
};

}  // namespace verbatim::nn
