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
  uint64_t index = 0;  // pieces already taken in this epoch, by all processes together
  friend bool operator==(const SamplerPosition&, const SamplerPosition&) = default;
};

struct SamplerOptions {
  uint64_t window_bytes = 1024;  // longest piece; at least 16
  uint64_t batch_bytes = 16384;  // pieces are added to a batch as long as it stays within this many bytes
  uint64_t seed = 1;
  uint64_t rank = 0;  // this process takes batches rank, rank + world, ...
  uint64_t world = 1;
};

// A one-to-one map of [0, size) onto itself that needs no table: a Feistel network over the next power of four, walked
// along its cycle until the value falls into the range (fewer than four steps on average).
class Permutation {
 public:
  Permutation() = default;
  Permutation(uint64_t size, uint64_t key);
  // index < size.
  [[nodiscard]] uint64_t operator()(uint64_t index) const;

 private:
  uint64_t size_ = 0;
  uint64_t key_ = 0;
  uint32_t half_bits_ = 1;
};

// Cuts documents into pieces and draws them in a random order that depends only on (seed, epoch): every byte exactly
// once an epoch. The cuts move from epoch to epoch (a random phase per document), never fall inside a UTF-8 character,
// and prefer the place just before white space, so that words and tokens stay whole. No tail is lost; memory is one
// number per document, and the permutation needs none.
//
// The number of pieces is known without reading text: a document of at most window_bytes is one piece; a longer one has
// nominal cuts at phase, phase + stride, phase + 2 stride, ... with stride = window_bytes - slack and
// slack = min(64, window_bytes / 4). Each cut then moves back by less than `slack` bytes to the nearest start of a run
// of white space, failing that to the nearest start of a character, failing that (not UTF-8) not at all. So no piece is
// empty and none is longer than window_bytes. Empty documents have no pieces.
//
// A batch never mixes epochs; the last one of an epoch may be short. next() looks at the text around the cuts of the
// batches of all ranks, which costs well under a microsecond a piece once the text is in memory.
class PieceSampler {
 public:
  // Throws InputError when the map has no bytes or the options make no sense. `map` must outlive the sampler.
  PieceSampler(const MemoryMap& map, SamplerOptions options);

  // The pieces of the next batch: at least one, at most batch_bytes bytes (unless a single piece is longer).
  [[nodiscard]] std::vector<Piece> next();

  [[nodiscard]] SamplerPosition position() const { return position_; }
  // Throws InputError when the position lies outside the epoch: the corpus or the options are not those it came from.
  void seek(SamplerPosition position);
  // Pieces of the epoch that position() names. Epochs differ a little, since the phases do.
  [[nodiscard]] uint64_t pieces_in_epoch() const { return first_piece_.back(); }
  // The piece at a place in the order of that epoch; index < pieces_in_epoch().
  [[nodiscard]] Piece piece(uint64_t index) const;

 private:
  void prepare_epoch(uint64_t epoch);
  uint64_t take(std::vector<Piece>* pieces, uint64_t index) const;
  uint64_t phase(uint64_t document) const;
  uint64_t cut(std::string_view text, uint64_t nominal) const;

  const MemoryMap& map_;
  SamplerOptions options_;
  uint64_t slack_ = 0;
  uint64_t stride_ = 0;
  SamplerPosition position_;
  uint64_t epoch_key_ = 0;
  Permutation order_;
  std::vector<uint64_t> first_piece_;  // of each document, plus the total
  uint64_t first_piece_epoch_ = ~uint64_t{0};
};

// The windows that cover a document of `size` units for evaluation: each unit is scored exactly once, after as much
// context as fits: window k reads [begin, end) and scores [score_begin, end).
struct EvaluationWindow {
  uint64_t begin = 0;
  uint64_t score_begin = 0;
  uint64_t end = 0;
  friend bool operator==(const EvaluationWindow&, const EvaluationWindow&) = default;
};
// The first window scores up to `window` units without context, each further one `stride` units after at least
// window - stride units of context. A document of size 0 has one empty window, the place of its end symbol.
// Throws InputError unless 1 <= stride <= window.
[[nodiscard]] std::vector<EvaluationWindow> evaluation_windows(uint64_t size, uint64_t window, uint64_t stride);

}  // namespace verbatim
