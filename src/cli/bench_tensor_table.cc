#include "cli/bench.h"

namespace verbatim {

const std::vector<Bench>& linked_tensor_benches() {
  static const std::vector<Bench> table = {
      {"machine", "matrix product rate and memory bandwidth, the limits of everything else", bench_machine},
      {"generate", "generation beside the memory bandwidth limit and without caches; takes a model", bench_generate,
       /*needs_model=*/true},
      {"train", "a training step beside the matrix product rate; takes a model or settings", bench_train,
       /*needs_model=*/true},
  };
  return table;
}

}  // namespace verbatim
