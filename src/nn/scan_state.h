#pragma once

#include <vector>

namespace verbatim::nn {

// What a state-space layer remembers of one stream. Empty at the start, which means zeros. A value: copying forks the
// stream.
struct ScanState {
  std::vector<float> window;  // the convolution's last inputs, [channels, W - 1], oldest first
  std::vector<float> state;   // [channels, S]
};

}  // namespace verbatim::nn
