#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// What can be asked of a generation. Without LibTorch: the command line shows and reads it before tensors are needed.
namespace verbatim {

// How one of several candidates is picked. The filters work on the probabilities at temperature 1 and in this order:
// repetition penalty, top_k, top_p, min_p; the temperature is applied to what is left.
struct SamplingOptions {
  double temperature = 0.8;         // 0: always the most likely candidate, of equals the one with the lowest index
  int64_t top_k = 40;               // keep the k most likely; 0: all
  double top_p = 0.95;              // keep the fewest most likely ones that reach this probability together; 1: all
  double min_p = 0.05;              // drop those less likely than this share of the most likely one; 0: none
  double repetition_penalty = 1.0;  // above 1: choices made recently lose score; 1: off
  int64_t repetition_window = 64;   // how many choices count as recent
  uint64_t seed = 0;                // of the random numbers

  // Throws InputError for values that make no sense.
  void validate() const;
};

// What is asked of a generation.
struct GenerateOptions {
  int64_t max_bytes = 256;             // longest text of each sample; 0: until the end of the document or a stop string
  std::vector<std::string> stop = {};  // strings that end a sample; not part of its text
  SamplingOptions sampling = {};       // sample i draws from the random stream i of its seed
  int64_t samples = 1;                 // texts for each prompt
  // Bytes of context a stream may grow to (the prompt included); when it is full, the stream is read again from its
  // last half. Meant for models trained on windows of this many bytes, and bounds memory. 0: no limit.
  int64_t context_bytes = 0;
  // Told the next bytes of a sample as soon as they are settled: never part of a UTF-8 character that later bytes
  // complete. Returns whether to go on with this sample. Joined, the pieces are the sample's text.
  std::function<bool(size_t sample, std::string_view bytes)> on_text = {};
  const std::atomic<bool>* interrupted = nullptr;  // set by others to end all samples early
  // Speculative decoding (Leviathan et al. 2023, arXiv 2211.17192), for one sample of one prompt and models whose
  // positions are bytes: guesses of the next bytes are read in one pass over the weights, and kept as far as the model
  // chooses the same. The text is the one that comes without.
  class Draft* draft = nullptr;
};

}  // namespace verbatim
