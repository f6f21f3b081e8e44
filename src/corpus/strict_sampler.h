#pragma once

#include <cstdint>
#include <vector>

// The order in which T-Free's reference trains on its entries (specification 7.3), for training that must compare with
// it. PieceSampler is what all other training uses.

namespace verbatim {

// The numbers 0 to size-1 as numpy.random.RandomState(seed).shuffle orders them: MT19937, Fisher-Yates from the end,
// numbers in a range by masking and rejecting. size <= 2^32.
[[nodiscard]] std::vector<uint32_t> legacy_permutation(uint64_t size, uint32_t seed);

struct StrictSamplerOptions {
  uint64_t size = 0;         // entries of the set
  uint64_t micro_batch = 1;  // entries to a batch of one process
  uint64_t world = 1;        // processes
  uint64_t rank = 0;
  uint32_t seed = 42;  // of epoch 0
};

struct StrictBatch {
  uint64_t epoch = 0;
  uint32_t permutation_seed = 0;  // of legacy_permutation in this epoch
  std::vector<uint64_t> indices;  // [micro_batch] places in that permutation
};

// Batches of one process. `consumed` is the state to save: all entries taken so far, by all processes together.
class StrictSampler {
 public:
  // Throws InputError when the set is too small for one batch of every process.
  StrictSampler(const StrictSamplerOptions& options, uint64_t consumed);

  // The next batch; a new epoch begins where fewer entries are left than all processes need.
  [[nodiscard]] StrictBatch next();
  [[nodiscard]] uint64_t consumed() const { return consumed_; }
  // Entries used in each epoch; the rest of the set (by place, after shuffling) is left out.
  [[nodiscard]] uint64_t usable() const { return usable_; }

 private:
  StrictSamplerOptions options_;
  uint64_t usable_;
  uint64_t consumed_;
};

}  // namespace verbatim
