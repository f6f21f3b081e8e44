#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/backbone.h"
#include "model/positions.h"
#include "settings/visitor.h"

namespace verbatim {

// Picks one of several candidates by their scores; the sampling rules live behind it (src/generate).
class Chooser {
 public:
  virtual ~Chooser() = default;
  // Index of the choice; scores are unnormalised log-probabilities and may be overwritten.
  [[nodiscard]] virtual int64_t choose(std::span<float> scores) = 0;
};

// What a decoder remembers of one stream. A value: copying forks the stream.
struct DecoderState {
  std::vector<std::string> words;  // read so far and not in the decoder's dictionary
  std::vector<int32_t> recent;     // the last symbols read, the last one last, for decoders that see them
};

// The decoder's answer to "what comes next".
struct NextPosition {
  std::vector<int32_t> ids;
  bool ends_document = false;
};

// Vectors to the text of the next position: its likelihood, and its choice in generation.
class TextDecoder : public torch::nn::Module {
 public:
  [[nodiscard]] virtual Likelihood likelihood() const = 0;
  // Nats of each row's target, [N] float32; 0 where a row has no target. h [N, D] in the compute type.
  [[nodiscard]] virtual at::Tensor nats(const at::Tensor& h_ND, const PositionBatch& batch) = 0;
  // What training lowers, [N] float32; 0 where a row has no target.
  [[nodiscard]] virtual at::Tensor training_loss(const at::Tensor& h_ND, const PositionBatch& batch) {
    return nats(h_ND, batch);
  }
  // Whether training_loss() is the nats, so that bits per byte can be read off it.
  [[nodiscard]] virtual bool trains_on_likelihood() const { return true; }
  // Told before each step of training its number, from 1: for what a decoder learns by itself now and then, and does
  // the same in a run that resumes.
  virtual void begin_step(int64_t /*step*/) {}
  // Of a parameter of this decoder: times the rate of learning of the run.
  [[nodiscard]] virtual double learning_rate_factor(std::string_view /*parameter*/) const { return 1; }
  // One choice from one row of the backbone's result, float32 on the CPU.
  [[nodiscard]] virtual NextPosition choose(std::span<const float> h_D, const DecoderState& state,
                                            Chooser& chooser) = 0;
  // Told every position that a stream reads.
  virtual void note(DecoderState& state, const std::vector<int32_t>& ids) const {}
  // Parameters of this decoder (names within it) that one with the settings `former` does not have, because a setting
  // switches them on that was off. A model can be trained on without them: they start at their initial values.
  [[nodiscard]] virtual std::vector<std::string> switched_on_since(const Settings& former) const { return {}; }
  // Multiplications of the prediction of one row.
  [[nodiscard]] virtual double multiplications_per_row() const = 0;
  // The scores over the decoder's symbols, where it has a fixed list of them.
  [[nodiscard]] virtual std::vector<float> scores(std::span<const float> h_D) = 0;
};

}  // namespace verbatim
