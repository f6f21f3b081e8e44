#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/backbone_settings.h"
#include "model/rows.h"
#include "nn/attention_cache.h"
#include "nn/scan_state.h"

namespace verbatim {

// What a layer remembers of one stream: attention fills the first, state-space layers the second, layers with a token
// shift the third.
struct LayerMemory {
  nn::AttentionCache attention;
  nn::ScanState scan;
  std::vector<float> delayed;  // [2, D/2] second halves of the row before: in front of the mixer and of the MLP
};

// What a backbone remembers of one stream. A value: copying forks the generation, a server holds many.
struct BackboneState {
  std::vector<LayerMemory> layers;      // one for each layer of this backbone
  int64_t rows = 0;                     // rows read so far
  uint16_t last_symbol = kStartSymbol;  // of the row before
  std::vector<float> open_patch;        // Level: what pooling needs of the rows since the last boundary
  int64_t open_rows = 0;
  uint8_t marks = 0;                 // levels: of the text since the last boundary
  std::vector<float> last_query;     // LearnedLevel: the query of the row before
  std::vector<float> above;          // levels: what the newest complete patch sends down
  std::vector<uint16_t> recent;      // GroupedLevel, Megabyte: bytes that have not entered the level above
  std::vector<BackboneState> inner;  // levels: one, the state of the inner backbone; Megabyte: one for each stage

  // A copy without keys and values, to come back to before `count` more rows are read. Not for GroupedLevel and
  // Megabyte, which empty caches on their way.
  [[nodiscard]] BackboneState mark(int64_t count) const;
  // Back to where mark() was called; at most `count` rows were read since.
  void go_back(const BackboneState& marked);
  // The same for a stack of layers without token shift, when begin_trail() was called before the rows were read, no
  // more than a window has: back to behind the first `kept` of them.
  void begin_trail();
  void go_back(const BackboneState& marked, int64_t kept);
};

// What a level says about a forward pass.
struct LevelNotes {
  std::vector<uint8_t> boundary;   // [N] 1 at the rows of this level where a boundary is
  std::vector<float> probability;  // [N] of a boundary at each row; empty for levels that cut by rule
  std::vector<uint32_t> ends;      // [N] byte offset in the sequence's text, just behind each row
  std::vector<uint16_t> symbols;   // [N] last byte of each row
  at::Tensor loss;                 // what the level adds to the training loss for each target; undefined: nothing
  double target = 0;               // rows per patch that the level is trained towards; 0: none
};

// Filled by a forward pass when asked for: one entry for each level, the outermost first.
struct ForwardNotes {
  std::vector<LevelNotes> levels;
};

// How a forward pass computes. float64 exists for gradient checks.
struct ForwardOptions {
  at::ScalarType compute_type = at::kFloat;  // type of activations between layers: float32 or bfloat16
  bool checkpoint_gradients = false;         // recompute layers in the backward pass instead of keeping activations
  ForwardNotes* notes = nullptr;             // filled when given
};

// Rows that continue streams: row r belongs to stream[r]; rows of one stream stand in order.
struct StreamRows {
  std::span<const int64_t> stream;    // [R] index into the states
  std::span<const uint16_t> symbols;  // [R] as in Rows
  std::span<const uint8_t> marks;     // [R]
};

// Counted on the rows of a real batch, so that patches count at the rate at which they come.
struct BackboneCost {
  double multiplications = 0;  // of weights and of attention
  double innermost_rows = 0;   // rows that the innermost backbone reads
};

// Memory of a stack of layers, in floats. Caches of a stream: for each row read, and once. For the backward pass: what
// is kept for each row.
struct StackMemory {
  double floats_per_row = 0;
  double floats_per_stream = 0;
  double saved_per_row = 0;

  StackMemory& operator+=(const StackMemory& other) {
    floats_per_row += other.floats_per_row;
    floats_per_stream += other.floats_per_stream;
    saved_per_row += other.saved_per_row;
    return *this;
  }
};

// Vectors to vectors, causal: row i of the result depends on rows up to i of the same sequence. The same for all
// families. The result is normalised: decoders and levels project it without a norm of their own.
class Backbone : public torch::nn::Module {
 public:
  [[nodiscard]] virtual int64_t width() const = 0;
  // [N, D] to [N, D], in the compute type.
  [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) = 0;

  [[nodiscard]] virtual BackboneState start() const = 0;
  // The next rows of the streams: one row of many streams, many rows of one, or any mix. x is [R, D] float32 and is
  // overwritten with the result. Equal to forward() over the whole sequences. Runs on the CPU.
  virtual void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) = 0;

  // What a forward pass over these rows costs.
  [[nodiscard]] virtual BackboneCost cost(const Rows& rows) const = 0;
  // Of the layers on the rows of this backbone; the inner backbone of a level not included.
  [[nodiscard]] virtual StackMemory memory() const = 0;

  // Levels: the backbone over patches, and the rows that it would read. Null and empty for others. Levels that learn
  // their boundaries estimate the number of rows.
  [[nodiscard]] virtual const Backbone* inner() const { return nullptr; }
  [[nodiscard]] virtual Rows inner_rows(const Rows& /*rows*/) const { return {}; }
  // Whether the boundaries of this level come from the model, not from a rule on the text.
  [[nodiscard]] virtual bool learns_boundaries() const { return false; }
  // Levels: the TextMarks that its boundaries look at.
  [[nodiscard]] virtual uint8_t marks() const { return 0; }
};

// A stack of layers or a level, as the settings say. `generator` draws the initial weights.
[[nodiscard]] std::shared_ptr<Backbone> make_backbone(const BackboneSettings& settings, at::Generator generator);

}  // namespace verbatim
