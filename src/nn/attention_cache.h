#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace verbatim::nn {

// Keys and values of one attention layer for one stream, float32, rotary already applied. With a window it is a ring of
// `window` rows, else it grows. A value: copying forks the stream.
struct AttentionCache {
  std::vector<float> keys;    // [capacity, G d]
  std::vector<float> values;  // [capacity, G d]
  int64_t rows = 0;           // rows seen so far; row r lies at slot r (mod window)
  int64_t row_width = 0;      // G d; 0 before the first row
  int64_t window = 0;         // slots of the ring; 0: it grows

  // A copy that is small, to come back to before `count` more rows are read: a ring keeps what they will overwrite.
  [[nodiscard]] AttentionCache mark(int64_t count) const {
    AttentionCache marked;
    marked.rows = rows;
    marked.row_width = row_width;
    marked.window = window;
    for (int64_t r = rows; window > 0 && r < rows + std::min(count, window); ++r) {
      const auto begin = static_cast<size_t>(r % window * row_width), width = static_cast<size_t>(row_width);
      const bool is_new = begin + width > keys.size();  // nothing to come back to
      for (const auto& [from, to] : {std::pair(&keys, &marked.keys), {&values, &marked.values}}) {
        if (is_new) {
          to->resize(to->size() + width);
        } else {
          to->insert(to->end(), from->begin() + static_cast<int64_t>(begin),
                     from->begin() + static_cast<int64_t>(begin + width));
        }
      }
    }
    return marked;
  }

  // Back to where mark() was called, and `kept` rows further; at most `count` rows were read since.
  void go_back(const AttentionCache& marked, int64_t kept = 0) {
    for (auto from = static_cast<size_t>(kept * row_width); from < marked.keys.size();
         from += static_cast<size_t>(row_width)) {
      const int64_t row = marked.rows + static_cast<int64_t>(from) / row_width;
      const auto to = static_cast<size_t>(row % window * row_width);
      if (to + static_cast<size_t>(row_width) > keys.size()) continue;
      std::copy_n(&marked.keys[from], row_width, &keys[to]);
      std::copy_n(&marked.values[from], row_width, &values[to]);
    }
    rows = marked.rows + kept;
  }
};

}  // namespace verbatim::nn
