#pragma once

#include <cstdint>

namespace verbatim {

// The polynomial hash of BLT's n-gram embeddings (arXiv 2412.09871, section 3.2.1): sum of w_k * prime^k over the
// window w_0 (oldest) .. w_{n-1}, in signed 64-bit arithmetic that wraps, modulo `rows` with a result that is never
// negative.
inline constexpr uint64_t kNgramPrimes[] = {1000000007, 5915587277, 1500450271, 3267000013, 5754853343, 4093082899,
                                            9576890767, 3628273133, 2860486313, 5463458053, 3367900313};

// `window(k)` gives w_k for k in [0, size).
template <class Window>
[[nodiscard]] constexpr int64_t ngram_hash(Window window, int size, uint64_t prime, int64_t rows) {
  uint64_t sum = 0;
  uint64_t power = 1;
  for (int k = 0; k < size; ++k) {
    sum += static_cast<uint64_t>(window(k)) * power;
    power *= prime;
  }
  const int64_t remainder = static_cast<int64_t>(sum) % rows;
  return remainder < 0 ? remainder + rows : remainder;
}

// The symbol numbers of BLT: bytes follow four special symbols, 1 begins a document, 0 stands before it.
inline constexpr int64_t kNgramStart = 1;
[[nodiscard]] constexpr int64_t ngram_symbol(uint16_t symbol) { return symbol < 256 ? symbol + 4 : kNgramStart; }

}  // namespace verbatim
