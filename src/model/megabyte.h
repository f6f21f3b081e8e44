#pragma once

#include "model/layer_stack.h"

namespace verbatim {

// MEGABYTE of any depth (Yu et al. 2023, arXiv 2305.07185; the general form is that of lucidrains/MEGABYTE-pytorch).
// Stage s of S has positions of r[s] bytes each (the last stage: 1), n[s] of them under one position of the stage
// before. Under each, a sequence of slots of its own:
//
//   slot 0: the learned start vector;  slot j + 1: vector of position j + message j from the stage before
//   y = norm(layers(slots)), causal, inside the sequence only
//   slot j, which has seen the positions before j, sends position j its n[s+1] messages: W y + b
//
// Coarse positions read their bytes by tables of their own: Norm(W Norm(concatenated rows) + b). The last stage takes
// the encoder's vectors. Its slots are the rows of the result: row 0 of a document is slot 0 of the first group and
// predicts the first byte, the row of a byte is the slot that has just read it. Slot 0 of later groups is nobody's row.
class Megabyte final : public Backbone {
 public:
  Megabyte(const BackboneSettings& settings, at::Generator& generator);

  [[nodiscard]] int64_t width() const override { return settings_.widths.back(); }
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) override;
  [[nodiscard]] BackboneState start() const override;
  void advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) override;
  [[nodiscard]] BackboneCost cost(const Rows& rows) const override;
  [[nodiscard]] StackMemory memory() const override;

 private:
  struct Stage {
    std::shared_ptr<LayerStack> layers;
    Norm norm;                // closing
    at::Tensor start;         // [d]
    PositionTable positions;  // [n, d], with absolute positions
    int64_t length = 0;       // n: positions under one of the stage before
    int64_t bytes = 1;        // r: bytes of a position
    LinearWeights messages;   // d to n d of the next stage; not the last one
    // Bytes to the vector of a position; not the last one.
    at::Tensor table;  // [256, width of the last stage]
    Norm bytes_norm, vector_norm;
    LinearWeights project;
  };
  // Where the rows of a stage take their parts from: indices, or -1 for nothing.
  struct Slots {
    nn::Sequences sequences;
    std::vector<int64_t> start;     // [R] 0 at slot 0
    std::vector<int64_t> position;  // [R] inside the sequence
    std::vector<int64_t> message;   // [R] of all messages of the stage before
    std::vector<int64_t> source;    // [R] last stage: row of the encoder's vectors
    std::vector<int64_t> bytes;     // [R r] other stages: the symbols of each row's position
  };
  struct Layout {
    std::vector<Slots> stages;
    std::vector<int64_t> slot_of_row;  // [N] in the last stage
  };
  [[nodiscard]] Layout layout_of(const Rows& rows) const;
  // [R, d] of the bytes of positions, r for each; -1: a zero row.
  [[nodiscard]] at::Tensor position_vectors(const Stage& stage, const std::vector<int64_t>& bytes,
                                            const at::Device& device) const;
  void check_length(int64_t bytes) const;

  // The stepwise twin: rows of a stage that are due.
  struct DueSlots {
    std::vector<int64_t> stream;
    std::vector<uint8_t> begins;    // 1 at slot 0
    std::vector<int64_t> position;  // slot j + 1: j; slot 0: -1
    std::vector<int64_t> parent;    // row of the stage before that is due in the same call, or -1: an earlier one
    std::vector<uint16_t> bytes;    // [R r] of slots behind slot 0, in order
    std::vector<int64_t> row;       // last stage: the row it belongs to, or -1
  };
  [[nodiscard]] std::vector<DueSlots> due_slots(const StreamRows& rows, std::span<BackboneState*> states) const;
  void position_vector(const Stage& stage, const uint16_t* bytes, float* x_D) const;
  // The rows of a stage as its layers read them. `messages`: of the stage before, [rows due there, n d].
  [[nodiscard]] std::vector<float> slot_vectors(size_t stage, const DueSlots& due, const std::vector<float>& messages,
                                                const float* x_RD, std::span<BackboneState*> states) const;

  BackboneSettings settings_;
  std::vector<Stage> stages_;
};

}  // namespace verbatim
