#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace verbatim::nn {

// What a state-space layer remembers of one stream. Empty at the start, which means zeros. A value: copying forks the
// stream.
struct ScanState {
  std::vector<float> window;  // the convolution's last inputs, [channels, W - 1], oldest first
  std::vector<float> state;   // [channels, S]

  // While a trail is kept: both behind each row read since, one after the other.
  bool keeps_trail = false;
  std::vector<float> window_trail, state_trail;

  void begin_trail() {
    keeps_trail = true;
    window_trail.clear();
    state_trail.clear();
  }
  // Back to behind the first `rows` rows of the trail, one at least. Ends it.
  void go_back(int64_t rows) {
    const auto from = [rows](const std::vector<float>& trail, std::vector<float>& to) {
      const auto size = static_cast<int64_t>(to.size());
      std::copy_n(trail.begin() + (rows - 1) * size, size, to.begin());
    };
    from(window_trail, window);
    from(state_trail, state);
    keeps_trail = false;
  }
};

}  // namespace verbatim::nn
