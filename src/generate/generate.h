#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "generate/draft.h"
#include "generate/generate_options.h"
#include "model/language_model.h"

namespace verbatim {

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
  int64_t replaced = 0;          // what the model wrote that is no text, and became U+FFFD
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

// Throws InputError for a model that writes no text.
void check_writes(const LanguageModel& model);

// Writes on from each prompt. All streams advance together, one position each per round, so weights are read once a
// round; a text is the same as when it is generated alone with the same random stream (up to rounding of sums). An
// empty prompt is the start of a document.
//   GenerateResult result = generate(*model, {"Once upon a time"}, {.max_bytes = 100, .sampling = {.seed = 7}});
// Throws InputError for options that make no sense.
[[nodiscard]] GenerateResult generate(LanguageModel& model, const std::vector<std::string>& prompts,
                                      const GenerateOptions& options);

}  // namespace verbatim
