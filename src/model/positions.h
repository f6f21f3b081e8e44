#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// A position is the unit that a model reads in one row: a byte, a token, a word, a block. What a family makes of a
// text.
struct Positions {
  std::vector<uint32_t> ends;        // [n] byte offset just behind each position; begins are the previous ends
  std::vector<int32_t> ids;          // one id for each position, or sets of ids, see id_offsets
  std::vector<uint32_t> id_offsets;  // [n+1] where the ids of each position lie; empty: exactly one id each

  [[nodiscard]] size_t size() const { return ends.size(); }
  [[nodiscard]] std::vector<int32_t> ids_of(size_t index) const {
    const size_t from = id_offsets.empty() ? index : id_offsets[index];
    const size_t to = id_offsets.empty() ? index + 1 : id_offsets[index + 1];
    return {ids.begin() + static_cast<std::ptrdiff_t>(from), ids.begin() + static_cast<std::ptrdiff_t>(to)};
  }
  // Byte offset of the first byte of position `index`.
  [[nodiscard]] uint32_t begin(size_t index) const { return index == 0 ? 0 : ends[index - 1]; }
};

// How likelihoods of a family are meant (design, section 1).
enum class Likelihood { kExact, kBound, kDictionary, kNone };
[[nodiscard]] std::string_view name_of(Likelihood likelihood);

// Where a text stands in its document.
enum class DocumentPart {
  kStart,  // the text begins its document
  kLater,  // something came before
};

// Cuts text into positions: the part of a TextEncoder that needs no tensors. Thread safe, so that batches are made
// ahead of the step. Lossless: bytes_of() of the positions' ids, joined, is the text (unless lossless() is false).
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  [[nodiscard]] virtual Positions segment(std::string_view text, DocumentPart part) const = 0;
  // The bytes that a position with these ids stands for. `previous` are the ids of the position before it (empty: not
  // known), null at the start of a document: tokenizers spell the first token with a prefix, words imply blanks.
  [[nodiscard]] virtual std::string bytes_of(const std::vector<int32_t>& ids,
                                             const std::vector<int32_t>* previous) const = 0;
  // Positions are lists of ids of any length (Positions::id_offsets is filled), not one id each.
  [[nodiscard]] virtual bool sets() const { return false; }
  // The ids read before the first position of a document (one, unless sets()), and the id predicted after its last one
  // (not used with sets(): the target is then kEndTarget).
  [[nodiscard]] virtual std::vector<int32_t> start_ids() const = 0;
  // -1: documents have no end; nothing is predicted there.
  [[nodiscard]] virtual int32_t end_id() const = 0;
  [[nodiscard]] virtual bool lossless() const = 0;
  // The texts of a vocabulary that was learnt before the model, one for each id that stands for text; empty where there
  // is none.
  [[nodiscard]] virtual std::vector<std::string> vocabulary() const { return {}; }
};

// The last byte of a row is what boundary rules look at; a row without bytes (the start of a document) has this
// instead.
inline constexpr uint16_t kStartSymbol = 256;

// Target of a row that predicts the document's end, where positions are sets of ids.
inline constexpr int64_t kEndTarget = -2;

// One text for a batch. Views must stay valid while the batch is made.
struct TextPiece {
  std::string_view bytes;
  bool starts_document = true;  // row 0 is then the start symbol, and predicts the first position
  bool ends_document = true;    // the last row then predicts the document's end
  uint64_t score_begin = 0;     // bytes before this offset are context: rows that predict them have no target
};

// A ragged batch, ready for the encoder. Rows of all sequences one after the other; row i of a sequence reads one
// position and predicts the next one.
struct PositionBatch {
  std::vector<int64_t> offsets = {0};  // [S+1] rows of each sequence
  std::vector<int32_t> ids;            // [N], or the concatenated sets
  std::vector<int64_t> id_offsets;     // [N+1] when positions are sets of ids, else empty
  std::vector<uint16_t> symbols;       // [N] last byte of each row, or kStartSymbol
  std::vector<uint32_t> ends;          // [N] byte offset in the sequence's own text, just behind the row
  std::vector<int64_t> targets;  // [N] id of the next position, the end id, or -1; for sets: row i+1, or kEndTarget
  uint64_t scored_bytes = 0;     // bytes of text that the targets stand for
  uint64_t scored_ends = 0;      // document ends among the targets
  int64_t natural_rows = -1;     // rows behind these are made-up text (autoencoders); -1: all is natural

  [[nodiscard]] int64_t rows() const { return offsets.back(); }
  [[nodiscard]] int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// Segments the pieces and lays them out. Pieces without any row are left out.
[[nodiscard]] PositionBatch make_batch(const Segmenter& segmenter, const std::vector<TextPiece>& pieces);

// For autoencoders: every row predicts itself, and document ends are nothing. Needs positions that are sets of ids.
void predict_itself(PositionBatch& batch);

// A stretch of bytes of a text.
struct ByteRange {
  uint64_t begin = 0, end = 0;
};

// Adds a document of which only some stretches are learnt: a conversation and its answers. Positions whose last byte
// lies outside them are read without being targets; so is the document's end unless the last range reaches it.
// Positions that end behind `most_bytes` are left out, and then the end is, too. `learnt` is in order, without overlap.
void append_partly_learnt(PositionBatch& batch, const Segmenter& segmenter, std::string_view text,
                          const std::vector<ByteRange>& learnt, uint64_t most_bytes);

// A stretch of positions that becomes one sequence.
struct PositionSpan {
  size_t begin = 0;        // first position read
  size_t score_begin = 0;  // first position predicted; those before it are context
  size_t end = 0;          // just behind the last position
  bool start_row = true;   // put the start symbol in front, which predicts position `begin` (a sequence of its own when
                           // the family reads nothing before a text)
  bool end_target = true;  // the last row predicts the document's end
};

// Adds a sequence from positions that are segmented already. Evaluation segments a document once and reads it in
// windows. A span without any row adds nothing.
void append_positions(PositionBatch& batch, const Segmenter& segmenter, const Positions& positions,
                      std::string_view text, const PositionSpan& span);

}  // namespace verbatim
