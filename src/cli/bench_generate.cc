#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/model_argument.h"
#include "evaluate/speed.h"

namespace verbatim {

std::vector<BenchFigure> bench_generate(const BenchOptions& options) {
  if (options.model.empty()) {
    throw UsageError("expected a model: verbatim bench generate MODEL, or a CONFIG.toml for random weights");
  }
  const ModelArgument argument = open_model_or_config(options.model);
  // Sentences of ordinary length, so that patches end as they do in text.
  std::string text;
  while (text.size() < 1024) text += "It rained all day, and the long road to the sea was empty. ";
  const GenerationSpeed speed = measure_generation(*argument.model, text, 4 * options.seconds);
  return {
      {.what = "reading the weights", .value = speed.read_bytes_per_second / 1e9, .unit = "GB/s"},
      {.what = "weights read per byte of text", .value = speed.weight_bytes_per_byte / 1e6, .unit = "MB"},
      {.what = "generation at the speed of reading weights",
       .value = speed.limit_bytes_per_second(),
       .unit = "bytes/s"},
      {.what = "generation",
       .value = speed.bytes_per_second,
       .unit = "bytes/s",
       .reference = "the speed of reading weights",
       .ratio = 1 / speed.times_limit()},
      {.what = "generation",
       .value = speed.bytes_per_second,
       .unit = "bytes/s",
       .reference = "the same without caches",
       .ratio = speed.speedup_of_caches()},
  };
}

}  // namespace verbatim
