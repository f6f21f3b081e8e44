#include "base/error.h"
#include "cli/bench.h"

namespace verbatim {

void link_tensor_benches() {
  for (Bench& bench : tensor_benches()) {
    if (bench.name == "machine") bench.run = bench_machine;
    if (bench.name == "generate") bench.run = bench_generate;
    if (bench.name == "draft") bench.run = bench_draft;
    if (bench.name == "train") bench.run = bench_train;
    VERBATIM_ASSERT(bench.run != nullptr, "bench {} has no function", bench.name);
  }
}

}  // namespace verbatim
