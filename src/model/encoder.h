#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "model/positions.h"
#include "model/rows.h"
#include "settings/visitor.h"

namespace verbatim {

// What passes from the encoder to the backbone and on to the decoder: one vector per position, and its place in the
// text.
struct Encoded {
  at::Tensor vectors_ND;  // float32 (double in gradient checks)
  Rows rows;
  at::Tensor loss = {};  // what the encoder adds to the training loss for each target; undefined: nothing
};

// What an encoder remembers of one stream while it is read row by row. A value: copying forks the stream.
struct EncoderState {
  std::vector<uint16_t> recent;  // last symbols, oldest first, as far as the encoder looks back
};

// Turns text into one vector per position. Causal: the vector of a position depends on bytes up to its end only.
class TextEncoder : public torch::nn::Module {
 public:
  // Cuts text into positions; used by data threads, lives as long as the encoder.
  [[nodiscard]] virtual const Segmenter& segmenter() const = 0;
  [[nodiscard]] virtual int64_t width() const = 0;
  // [N, D] for all rows of the batch. Encoders with dense layers compute them in `compute_type`.
  [[nodiscard]] virtual Encoded encode(const PositionBatch& batch, at::ScalarType compute_type) = 0;
  // The same for rows that continue streams: row r belongs to states[stream[r]], rows of a stream in order. `out` is
  // [R, D] row-major float32. Equal to encode() of the whole text.
  virtual void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                           float* out_RD) = 0;
  // The ids of a position as people should see them: rows of the table. `ids` are those of Positions.
  [[nodiscard]] virtual std::vector<int32_t> table_ids(const std::vector<int32_t>& ids) const { return ids; }
  // The table that a tied decoder shares, [V, D]; undefined when there is none.
  [[nodiscard]] virtual at::Tensor table() const { return {}; }
  // Multiplications for one row, look-ups not counted.
  [[nodiscard]] virtual double multiplications_per_row() const { return 0; }
  // Of a parameter of this encoder: times the rate of learning of the run.
  [[nodiscard]] virtual double learning_rate_factor(std::string_view /*parameter*/) const { return 1; }
};

}  // namespace verbatim
