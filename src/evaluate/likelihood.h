#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/corpus.h"
#include "model/language_model.h"

namespace verbatim {

enum class Precision { kFloat32, kBfloat16 };

// How a text is scored. Each document is segmented once and read in windows: the first one scores everything in it,
// each further one scores its last `stride_bytes` after at least window - stride bytes of context. Every position of
// every document, and every document's end, is scored exactly once.
struct LikelihoodOptions {
  int64_t window_bytes = 1024;                // bytes a model sees at once; best what it was trained with
  int64_t stride_bytes = 0;                   // bytes from one window to the next; 0: a quarter of the window
  int64_t batch_bytes = 16384;                // bytes of all windows that are computed together
  int64_t stretch_bytes = int64_t{16} << 20;  // longer documents are segmented in stretches of about this size
  int64_t max_bytes = 0;                      // score only so many bytes; a document cut off here has no end; 0: all
  Precision precision = Precision::kFloat32;
  std::function<void(uint64_t bytes_done, double bits_per_byte)> on_progress = {};  // after each batch
  const std::atomic<bool>* interrupted = nullptr;  // set by others: EvaluationStopped is thrown then
};

class EvaluationStopped : public std::runtime_error {
 public:
  EvaluationStopped() : std::runtime_error("the evaluation was stopped") {}
};

struct LikelihoodResult {
  std::string family = {};
  Likelihood likelihood = Likelihood::kNone;
  double nats_total = 0;     // of all bytes and document ends
  double bits_per_byte = 0;  // nats_total in bits over bytes
  double nats_ends = 0;      // of the document ends alone, part of nats_total
  uint64_t bytes = 0;        // of the original text
  uint64_t documents = 0;
  uint64_t positions = 0;  // predicted, document ends not counted
  double bytes_per_position = 0;
  int64_t parameters = 0;
  double seconds = 0;
  double bytes_per_second = 0;  // of the original text, whatever context was read again
  int64_t window_bytes = 0;
  int64_t stride_bytes = 0;
  int64_t peak_memory_bytes = 0;  // of the process so far
};

// Documents to score, one by one; views must stay valid until the call returns.
using DocumentAt = std::function<std::string_view(uint64_t index)>;

// Throws InputError for options that make no sense or documents without a byte.
[[nodiscard]] LikelihoodResult evaluate_likelihood(LanguageModel& model, uint64_t document_count,
                                                   const DocumentAt& document, const LikelihoodOptions& options);
[[nodiscard]] LikelihoodResult evaluate_likelihood(LanguageModel& model, const DocumentSource& documents,
                                                   const LikelihoodOptions& options);

// What a level made of a document's positions while it was scored.
struct LevelBoundaries {
  // [positions] probability of a boundary, -1 where the level had no row: a patch of the level outside it went on
  // there.
  std::vector<float> probability;
  // Levels that learn begin a patch with the position of a boundary, those with a rule end one there.
  bool begins_patch = false;
  // The TextMarks (sentence ends, say) that boundaries at this level stand for: where one carries such a mark, the
  // patch ends with the marked text, whatever begins_patch says.
  uint8_t marks = 0;
};

// The nats of each position of one document, and of its end, scored as above. In the order of segmentation.
struct PositionNats {
  Positions positions;
  std::vector<double> nats;  // [positions]
  double end_nats = 0;
  std::vector<LevelBoundaries> levels;  // outermost first
};
[[nodiscard]] PositionNats score_positions(LanguageModel& model, std::string_view document,
                                           const LikelihoodOptions& options);

}  // namespace verbatim
