#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blocks/reconstruction.h"
#include "corpus/corpus.h"
#include "evaluate/likelihood.h"
#include "text/script.h"

namespace verbatim {

// How much of a text an autoencoder of blocks gives back (blocks/reconstruction.h says how it is counted).
struct ReconstructionSettings {
  double noise = 0;    // deviation of normal noise on each vector, as a share of theirs (sigma)
  uint32_t shift = 0;  // characters "x" in front of each document: other block borders
  int64_t batch_bytes = 65536;
  int64_t max_bytes = 0;     // of text; 0: all
  size_t most_examples = 0;  // blocks that came back wrong, kept to be shown
  bool check = false;        // what was decoded by encoding it again (families/tokun/block_search.h, block_settling.h)
  uint64_t seed = 1;         // of the noise
  Precision precision = Precision::kFloat32;
  const std::atomic<bool>* interrupted = nullptr;  // EvaluationStopped is thrown when set
};

struct CheckedReconstruction {
  // A search takes up to half a second. Decoders that need more of them are too poor to be helped.
  static constexpr int64_t kMostSearched = 64;
  Reconstruction all;
  Share confirmed, confirmed_right;  // blocks, and of those that were confirmed
  int64_t searched = 0;              // blocks that were searched for: at most kMostSearched
  double seconds = 0;                // of the check alone
};

struct ReconstructionReport {
  Reconstruction all;
  Share padded_byte, padded_character, padded_block;  // as published: padding counts, which flatters short texts
  std::array<Share, static_cast<size_t>(Script::kCount)> characters;  // by the script of each
  uint64_t bytes = 0;                                                 // of text
  uint64_t blocks = 0;
  double nats = 0;   // of the blocks under the decoder, padding included
  double sigma = 0;  // mean over the numbers of a vector of their deviation over blocks
  double encode_seconds = 0, decode_seconds = 0;
  // With `check`, of decoders that say all bytes of a block at once: without noise, and with it.
  std::optional<CheckedReconstruction> checked;
  // Settling takes much longer than decoding: about so many blocks, the first ones.
  static constexpr uint64_t kMostSettled = 8192;
  std::optional<Reconstruction> settled;          // each block by itself,
  std::optional<Reconstruction> settled_in_text;  // and as those of one text, where the decoder knows of that
  struct Example {
    std::string text, came_back;
  };
  std::vector<Example> wrong;
};

// Throws InputError for a model that is no autoencoder, and for documents without a byte.
[[nodiscard]] ReconstructionReport measure_reconstruction(LanguageModel& model, const DocumentSource& documents,
                                                          const ReconstructionSettings& settings);
[[nodiscard]] ReconstructionReport measure_reconstruction(LanguageModel& model,
                                                          const std::vector<std::string_view>& documents,
                                                          const ReconstructionSettings& settings);

// What a text that is one character longer leaves of its blocks: the share of blocks that are still there after a
// letter is put in at a random place, the mean over `trials` places. About 0.5 with fixed borders, whatever the text.
// Throws InputError for a model whose positions are no blocks, and for a text without one.
[[nodiscard]] double blocks_kept_after_insertion(LanguageModel& model, std::string_view text, int64_t trials,
                                                 uint64_t seed);

// The vectors of the blocks of some texts, row after row.
struct BlockVectors {
  std::vector<std::string> texts;  // [N] of each block
  std::vector<float> vectors;      // [N * width]
  int64_t width = 0;
};
// At most `most` blocks. Throws InputError for a model whose positions are no blocks.
[[nodiscard]] BlockVectors block_vectors(LanguageModel& model, const std::vector<std::string_view>& texts, size_t most);

}  // namespace verbatim
