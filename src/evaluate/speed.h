#pragma once

#include <cstdint>
#include <string_view>

#include "model/language_model.h"

namespace verbatim {

// How fast a model generates, beside what limits it. One text at a time, on the CPU, in float32.
struct GenerationSpeed {
  uint64_t bytes = 0;  // generated in the measurement
  double bytes_per_second = 0;
  double without_caches = 0;  // bytes/s of the same model when each position reads the whole text before it again
  double weights_bytes = 0;   // all weights that generation reads
  double weight_bytes_per_byte = 0;  // weights read for one byte of text
  double read_bytes_per_second = 0;  // rate at which all cores read as much memory as the weights take, again and again
  [[nodiscard]] double limit_bytes_per_second() const { return read_bytes_per_second / weight_bytes_per_byte; }
  // How many times slower than the limit; 1 is the best possible.
  [[nodiscard]] double times_limit() const { return limit_bytes_per_second() / bytes_per_second; }
  [[nodiscard]] double speedup_of_caches() const { return bytes_per_second / without_caches; }
};

// Measures on `text`: its first half is the prompt, then the second half is written position by position, with a choice
// made for each and the text's own position read, so that patches end where real text ends them. Takes about `seconds`.
// Throws InputError for a text of less than 64 bytes.
[[nodiscard]] GenerationSpeed measure_generation(LanguageModel& model, std::string_view text, double seconds);

// Bytes per second at which all cores read a buffer of `bytes` bytes again and again, the best of several passes.
[[nodiscard]] double measure_read_rate(uint64_t bytes, double seconds);

// Parameters read in one generated position, as a number of bytes; patches count at the rate at which they come in
// `text`.
[[nodiscard]] double weight_bytes_per_position(LanguageModel& model, std::string_view text);

}  // namespace verbatim
