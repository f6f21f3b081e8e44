#include "families/tokun/batch_random.h"

#include <ATen/CPUGeneratorImpl.h>

#include <string_view>

#include "base/hash.h"

namespace verbatim {

at::Generator generator_of(const PositionBatch& batch, DrawnFor use) {
  const uint64_t seed = hash128(std::string_view(reinterpret_cast<const char*>(batch.ids.data()),
                                                 batch.ids.size() * sizeof(batch.ids[0])))
                            .low;
  return at::detail::createCPUGenerator(seed + static_cast<uint64_t>(use));
}

}  // namespace verbatim
