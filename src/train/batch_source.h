#pragma once

#include <memory>
#include <optional>

#include "corpus/pieces.h"
#include "corpus/prefetcher.h"
#include "model/positions.h"

namespace verbatim {

// A batch ready for the step, and where the data stands behind it.
struct PreparedBatch {
  PositionBatch batch;
  SamplerPosition taken_from;  // names the batch in messages
  SamplerPosition next;        // saved with a checkpoint once the batch is used
};

enum class DocumentKind { kText, kConversations };

// For autoencoders: every position is its own target. What is done to a text before (blocks/augmentation.h).
struct ReconstructionOptions {
  double random_characters = 0;  // made-up characters beside each one of the text
  uint32_t random_shift = 0;     // up to so many characters are left out in front
  double noise = 0;              // chance of each character to be replaced, left out, doubled or exchanged
  double case_change = 0;        // chance of each piece to change its case
  uint64_t seed = 0;
};

// Batches in the sampler's order, segmented by threads ahead of the step.
class BatchSource {
 public:
  // `map` and `segmenter` must outlive the source. Of conversations (corpus/instruct.h) every one is a piece of its
  // own, cut at window_bytes of its text, and only answers are targets.
  BatchSource(const MemoryMap& map, const Segmenter& segmenter, SamplerOptions options, SamplerPosition start,
              size_t threads, size_t ahead, DocumentKind kind = DocumentKind::kText,
              const std::optional<ReconstructionOptions>& reconstruction = std::nullopt);
  [[nodiscard]] PreparedBatch next();

 private:
  struct Draft {
    std::vector<Piece> pieces;
    SamplerPosition taken_from, next;
  };
  PieceSampler sampler_;
  std::unique_ptr<Prefetcher<Draft, PreparedBatch>> prefetcher_;
};

}  // namespace verbatim
