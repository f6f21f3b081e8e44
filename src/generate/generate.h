#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/draft.h"
#include "generate/sampler.h"
#include "model/language_model.h"

namespace verbatim {

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
  Draft* draft = nullptr;
};

enum class FinishReason {
  kEndOfDocument,  // the model said so
  kStopString,
  kMaxBytes,
  kStopped,  // by on_text or interrupted
};
[[nodiscard]] std::string_view name_of(FinishReason reason);

struct GeneratedText {
  size_t prompt = 0;  // index of its prompt
  std::string text;   // without the prompt and without the stop string
  FinishReason finish = FinishReason::kStopped;
  std::string stop_string = {};  // the one that ended it
  int64_t positions = 0;         // choices made
};

struct GenerateResult {
  std::vector<GeneratedText> texts;  // sample i of prompt p at p * samples + i
  uint64_t prompt_bytes = 0;         // of all prompts
  uint64_t bytes = 0;                // generated, of all texts
  double prompt_seconds = 0;         // reading the prompts
  double seconds = 0;                // generating
  int64_t passes = 0;                // over the weights while generating
  int64_t guessed = 0, kept = 0;     // bytes of the draft
  [[nodiscard]] double bytes_per_second() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

// Writes on from each prompt. All streams advance together, one position each per round, so weights are read once a
// round; a text is the same as when it is generated alone with the same random stream (up to rounding of sums). An
// empty prompt is the start of a document.
//   GenerateResult result = generate(*model, {"Once upon a time"}, {.max_bytes = 100, .sampling = {.seed = 7}});
// Throws InputError for options that make no sense.
[[nodiscard]] GenerateResult generate(LanguageModel& model, const std::vector<std::string>& prompts,
                                      const GenerateOptions& options);

}  // namespace verbatim
