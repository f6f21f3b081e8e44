#include "corpus/strict_sampler.h"

#include <bit>
#include <numeric>
#include <random>
#include <utility>

#include "base/error.h"

namespace verbatim {

std::vector<uint32_t> legacy_permutation(uint64_t size, uint32_t seed) {
  VERBATIM_ASSERT(size <= uint64_t{1} << 32, "{} entries", size);
  std::vector<uint32_t> order(size);
  std::iota(order.begin(), order.end(), uint32_t{0});
  std::mt19937 random(seed);  // the standard prescribes the same generator and the same seeding
  for (uint64_t i = size; i-- > 1;) {
    const auto mask = static_cast<uint32_t>(std::bit_ceil(i + 1) - 1);
    uint32_t j = 0;
    do {
      j = static_cast<uint32_t>(random()) & mask;
    } while (j > i);
    std::swap(order[i], order[j]);
  }
  return order;
}

StrictSampler::StrictSampler(const StrictSamplerOptions& options, uint64_t consumed)
    : options_(options), consumed_(consumed) {
  VERBATIM_ASSERT(options.micro_batch > 0 && options.world > 0 && options.rank < options.world);
  usable_ = options.size / options.micro_batch / options.world * options.micro_batch * options.world;
  if (usable_ == 0) {
    throw_input(
        "{} entries: expected at least {} for one batch of each of {} processes; take smaller batches or more text",
        options.size, options.micro_batch * options.world, options.world);
  }
}

StrictBatch StrictSampler::next() {
  const uint64_t step = options_.micro_batch * options_.world;
  // Only a run that goes on with another number of processes leaves such a rest. The reference drops it too.
  if (const uint64_t taken = consumed_ % usable_; taken + step > usable_) consumed_ += usable_ - taken;
  StrictBatch batch;
  batch.epoch = consumed_ / usable_;
  batch.permutation_seed = static_cast<uint32_t>(options_.seed + batch.epoch);
  const uint64_t begin = consumed_ % usable_ + options_.rank;
  for (uint64_t t = 0; t < options_.micro_batch; ++t) batch.indices.push_back(begin + options_.world * t);
  consumed_ += step;
  return batch;
}

}  // namespace verbatim
