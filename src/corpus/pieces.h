#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "corpus/memory_map.h"

namespace verbatim {

// A stretch of one document that a model reads as one sequence. [begin, end) in bytes; the document's end symbol is
// predicted when end == size of the document.
struct Piece {
  uint64_t document = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  friend bool operator==(const Piece&, const Piece&) = default;
};

// Where training stands in the data. A value: save it with a checkpoint, seek() continues with the very next piece.
struct SamplerPosition {
  uint64_t epoch = 0;
  uint64_t index = 0;  // pieces already taken in this epoch
  friend bool operator==(const SamplerPosition&, const SamplerPosition&) = default;
};

struct SamplerOptions {
  uint64_t window_bytes = 1024;  // longest piece
  uint64_t batch_bytes = 16384;  // pieces are added to a batch until it holds this many bytes
  uint64_t seed = 1;
  uint64_t rank = 0;             // this process takes batches rank, rank + world, ...
  uint64_t world = 1;
};

// Cuts documents into pieces and draws them in a random order that depends only on (seed, epoch): every byte exactly once
// an epoch. The cuts move from epoch to epoch (a random phase per document), never fall inside a UTF-8 character, and
// prefer the place just before white space, so that words and tokens stay whole. No tail is lost; memory is one number
// per document, and the permutation needs none.
class PieceSampler {
 public:
  PieceSampler(const MemoryMap& map, SamplerOptions options);

  // The pieces of the next batch: at least one, at most batch_bytes bytes (unless a single piece is longer).
  [[nodiscard]] std::vector<Piece> next();

  [[nodiscard]] SamplerPosition position() const { return position_; }
  void seek(SamplerPosition position);
  [[nodiscard]] uint64_t pieces_in_epoch() const;

 private:
  const MemoryMap& map_;
  SamplerOptions options_;
  SamplerPosition position_;
  std::vector<uint64_t> first_piece_;  // of each document, plus the total
  uint64_t first_piece_epoch_ = ~uint64_t{0};
};

// The windows that cover a document of `size` units for evaluation: each unit is scored exactly once, after as much
// context as fits: window k reads [begin, end) and scores [score_begin, end).
struct EvaluationWindow {
  uint64_t begin = 0;
  uint64_t score_begin = 0;
  uint64_t end = 0;
};
[[nodiscard]] std::vector<EvaluationWindow> evaluation_windows(uint64_t size, uint64_t window, uint64_t stride);

}  // namespace verbatim
