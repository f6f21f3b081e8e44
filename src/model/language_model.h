#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/family.h"
#include "model/positions.h"
#include "text/text_marks.h"

namespace verbatim {

// One text being read or written. A value: copying forks it.
struct StreamState {
  EncoderState encoder;
  TextMarkReader marks;
  BackboneState backbone;
  std::vector<float> newest_D;      // the backbone's result for the newest row: what predicts the next position
  std::vector<int32_t> newest_ids;  // of the newest position
  DecoderState decoder;
  uint64_t positions = 0;  // positions read so far, the start row not counted
  bool from_document_start = true;
};

// What training lowers.
struct TrainingLoss {
  at::Tensor rows_N;  // of each row's prediction, 0 without a target; the nats unless the decoder has a loss of its own
  at::Tensor levels;  // what levels with learned boundaries and encoders add for each target; undefined: nothing
  std::vector<LevelNotes> notes;  // of each level, outermost first
};

// TextEncoder + Backbone + TextDecoder: bytes -> positions -> positions -> bytes.
//   auto model = LanguageModel::create(settings, /*seed=*/1, ".");
//   StreamState state = model->start();
//   model->read(state, "Once upon a time");
//   NextPosition next = model->choose(state, chooser);
class LanguageModel : public torch::nn::Module {
 public:
  // A new model with weights drawn from `seed`. `folder` is where relative paths in the settings start.
  [[nodiscard]] static std::shared_ptr<LanguageModel> create(std::shared_ptr<ModelSettings> settings, uint64_t seed,
                                                             const std::filesystem::path& folder);

  [[nodiscard]] const Segmenter& segmenter() const { return parts_.encoder->segmenter(); }
  [[nodiscard]] TextEncoder& encoder() { return *parts_.encoder; }
  [[nodiscard]] Backbone& backbone() { return *parts_.backbone; }
  [[nodiscard]] TextDecoder& decoder() { return *parts_.decoder; }
  [[nodiscard]] ModelSettings& settings() { return *settings_; }
  [[nodiscard]] const std::map<std::string, std::string>& files() const { return parts_.files; }

  // [N, D]: what each row's prediction is made of, in the compute type. Of an autoencoder, the vector of each row.
  [[nodiscard]] at::Tensor forward(const PositionBatch& batch, const ForwardOptions& options);
  // [N] nats of each row's target, 0 where it has none.
  [[nodiscard]] at::Tensor nats(const PositionBatch& batch, const ForwardOptions& options);
  [[nodiscard]] TrainingLoss training_loss(const PositionBatch& batch, const ForwardOptions& options);

  // A stream at the start of a document, its start symbol read; newest_D predicts the first position.
  // kLater: a stream that begins inside a document; nothing is read yet and newest_D is empty until read() has bytes.
  [[nodiscard]] StreamState start(DocumentPart part = DocumentPart::kStart);
  // Reads a text (from the start of the document, or going on behind what was read). For families with a tokenizer a
  // text read in two parts may be cut into other tokens than the whole.
  void read(StreamState& state, std::string_view text);
  // Reads one position that was chosen.
  void read_position(StreamState& state, const std::vector<int32_t>& ids);
  // Reads several positions of one id each, and returns what the backbone says of each row, [R, D]: what
  // read_position() of one after the other leaves in newest_D. As one pass over the weights.
  [[nodiscard]] std::vector<float> read_each(StreamState& state, std::span<const int32_t> ids);
  // A copy to come back to before `count` more positions are read; small where the backbone allows.
  [[nodiscard]] StreamState mark(const StreamState& state, int64_t count) const;
  // Back to where mark() was called.
  void go_back(StreamState& state, StreamState marked) const;
  // Whether go_back() can also stop later: behind `kept`, the first of at most `count` positions that read_each() read
  // after mark() and begin_trail(); rows_RD is what it returned.
  [[nodiscard]] bool keeps_rows(int64_t count) const;
  void begin_trail(StreamState& state) const { state.backbone.begin_trail(); }
  void go_back(StreamState& state, StreamState marked, std::span<const int32_t> kept, std::span<const float> rows_RD);
  // Reads one position each: positions[s] goes to states[s].
  void read_positions(std::span<StreamState*> states, const std::vector<std::vector<int32_t>>& ids);
  // One choice of what comes next in this stream.
  [[nodiscard]] NextPosition choose(const StreamState& state, Chooser& chooser) const {
    return parts_.decoder->choose(state.newest_D, state.decoder, chooser);
  }
  // The same from a row of read_each().
  [[nodiscard]] NextPosition choose(std::span<const float> row_D, const StreamState& state, Chooser& chooser) const {
    return parts_.decoder->choose(row_D, state.decoder, chooser);
  }
  // The bytes that a chosen position stands for in this stream.
  [[nodiscard]] std::string bytes_of(const StreamState& state, const std::vector<int32_t>& ids) const;

  // Of each parameter: times the rate of learning of the run. Inner levels of H-Net learn more slowly.
  [[nodiscard]] double learning_rate_factor(std::string_view parameter) const;

  // Of a forward pass over the batch, the decoder included.
  [[nodiscard]] BackboneCost cost(const PositionBatch& batch) const;

  // Without a backbone: every position is given back, none predicted. Has no likelihood of text and writes none.
  [[nodiscard]] bool is_autoencoder() const { return settings_->backbone.is_none(); }

  [[nodiscard]] int64_t parameter_count() const;
  // Parameters outside tables of symbols (encoder tables and the decoder's head).
  [[nodiscard]] int64_t parameter_count_without_tables() const;

  explicit LanguageModel(std::shared_ptr<ModelSettings> settings, ModelParts parts);

 private:
  // Positions of one id each that go on behind a stream.
  [[nodiscard]] PositionBatch batch_of(const StreamState& state, std::span<const int32_t> ids) const;
  void note_position(StreamState& state, std::vector<int32_t> ids) const;
  // Returns what the backbone says of each row, [R, D].
  std::vector<float> advance(std::span<StreamState*> states, const PositionBatch& rows,
                             std::span<const int64_t> stream);

  std::shared_ptr<ModelSettings> settings_;
  ModelParts parts_;
};

}  // namespace verbatim
