#include "cli/bench.h"

namespace verbatim {

const std::vector<Bench>& benches() {
  static const std::vector<Bench> table = {
      {"machine", "matrix product rate and memory bandwidth, the limits of everything else", bench_machine},
  };
  return table;
}

}  // namespace verbatim
