#include "model/language_model.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/error.h"
#include "nn/torch.h"

namespace verbatim {

std::shared_ptr<LanguageModel> LanguageModel::create(std::shared_ptr<ModelSettings> settings, uint64_t seed,
                                                     const std::filesystem::path& folder) {
  const Family& family = find_family(settings->family);
  if (settings->encoder == nullptr) {
    settings->encoder = family.encoder_settings();
    settings->decoder = family.decoder_settings();
  }
  settings->backbone.resolve();
  ModelParts parts = family.make(*settings, folder, at::detail::createCPUGenerator(seed));
  return std::make_shared<LanguageModel>(std::move(settings), std::move(parts));
}

LanguageModel::LanguageModel(std::shared_ptr<ModelSettings> settings, ModelParts parts)
    : settings_(std::move(settings)), parts_(std::move(parts)) {
  VERBATIM_ASSERT(parts_.encoder->width() == parts_.backbone->width());
  register_module("encoder", parts_.encoder);
  register_module("backbone", parts_.backbone);
  register_module("decoder", parts_.decoder);
}

at::Tensor LanguageModel::forward(const PositionBatch& batch, const ForwardOptions& options) {
  Encoded encoded = parts_.encoder->encode(batch, options.compute_type);
  return parts_.backbone->forward(encoded.vectors_ND, encoded.rows, options);
}

at::Tensor LanguageModel::nats(const PositionBatch& batch, const ForwardOptions& options) {
  return parts_.decoder->nats(forward(batch, options), batch);
}

TrainingLoss LanguageModel::training_loss(const PositionBatch& batch, const ForwardOptions& options) {
  ForwardNotes notes;
  ForwardOptions noting = options;
  noting.notes = &notes;
  const Encoded encoded = parts_.encoder->encode(batch, options.compute_type);
  const at::Tensor h_ND = parts_.backbone->forward(encoded.vectors_ND, encoded.rows, noting);
  TrainingLoss loss{.rows_N = parts_.decoder->training_loss(h_ND, batch), .levels = encoded.loss, .notes = {}};
  for (const LevelNotes& level : notes.levels) {
    if (level.loss.defined()) loss.levels = loss.levels.defined() ? loss.levels + level.loss : level.loss;
  }
  loss.notes = std::move(notes.levels);
  return loss;
}

double LanguageModel::learning_rate_factor(std::string_view parameter) const {
  constexpr std::string_view kBackbone = "backbone.", kInner = "inner.";
  constexpr std::string_view kEncoder = "encoder.", kDecoder = "decoder.";
  const std::vector<double> factors = settings_->backbone.learning_rate_factors();
  if (parameter.starts_with(kEncoder))
    return factors.front() * parts_.encoder->learning_rate_factor(parameter.substr(kEncoder.size()));
  if (parameter.starts_with(kDecoder))
    return factors.front() * parts_.decoder->learning_rate_factor(parameter.substr(kDecoder.size()));
  size_t depth = 0;
  if (parameter.starts_with(kBackbone)) {
    parameter.remove_prefix(kBackbone.size());
    for (; parameter.starts_with(kInner); ++depth) parameter.remove_prefix(kInner.size());
  }
  return factors.at(std::min(depth, factors.size() - 1));
}

std::vector<float> LanguageModel::advance(std::span<StreamState*> states, const PositionBatch& rows,
                                          std::span<const int64_t> stream) {
  if (stream.empty()) return {};
  torch::NoGradGuard no_grad;
  const int64_t width = parts_.backbone->width();
  std::vector<float> x(stream.size() * static_cast<size_t>(width));
  std::vector<EncoderState*> encoder_states;
  std::vector<BackboneState*> backbone_states;
  for (StreamState* state : states) {
    encoder_states.push_back(&state->encoder);
    backbone_states.push_back(&state->backbone);
  }
  parts_.encoder->encode_rows(rows, stream, encoder_states, x.data());
  std::vector<uint8_t> marks(stream.size());
  for (size_t r = 0; r < stream.size(); ++r) marks[r] = states[stream[r]]->marks.read(rows.symbols[r]);
  parts_.backbone->advance(x.data(), {stream, rows.symbols, marks}, backbone_states);
  for (size_t r = 0; r < stream.size(); ++r) {
    StreamState& state = *states[stream[r]];
    state.newest_D.assign(x.begin() + static_cast<int64_t>(r) * width, x.begin() + static_cast<int64_t>(r + 1) * width);
  }
  return x;
}

StreamState LanguageModel::start(DocumentPart part) {
  StreamState state;
  state.backbone = parts_.backbone->start();
  state.from_document_start = part == DocumentPart::kStart;
  if (!state.from_document_start) return state;
  PositionBatch batch;
  append_positions(batch, segmenter(), {}, "", {.start_row = true, .end_target = false});
  const int64_t stream = 0;
  StreamState after_start = state;
  StreamState* pointer = &after_start;
  advance({&pointer, 1}, batch, {&stream, 1});
  // A family that reads nothing before a text forgets the empty row that predicts its first position.
  if (segmenter().start_ids().empty()) {
    state.newest_D = std::move(after_start.newest_D);
    return state;
  }
  return after_start;
}

void LanguageModel::read(StreamState& state, std::string_view text) {
  // Long texts go through in stretches: memory stays bounded, and matrix products stay large.
  constexpr size_t kStretch = 512;
  const bool first = state.positions == 0 && state.from_document_start;
  const Positions positions = segmenter().segment(text, first ? DocumentPart::kStart : DocumentPart::kLater);
  StreamState* pointer = &state;
  for (size_t begin = 0; begin < positions.size(); begin += kStretch) {
    const size_t end = std::min(begin + kStretch, positions.size());
    PositionBatch batch;
    append_positions(batch, segmenter(), positions, text,
                     {.begin = begin, .score_begin = begin, .end = end, .start_row = false, .end_target = false});
    const std::vector<int64_t> stream(end - begin, 0);
    advance({&pointer, 1}, batch, stream);
    for (size_t i = begin; i < end; ++i) note_position(state, positions.ids_of(i));
  }
}

void LanguageModel::read_position(StreamState& state, const std::vector<int32_t>& ids) {
  StreamState* pointer = &state;
  read_positions({&pointer, 1}, {ids});
}

bool LanguageModel::keeps_rows(int64_t count) const {
  const BackboneSettings& backbone = settings_->backbone;
  // A ring that is shorter loses rows that are to be kept.
  return backbone.is_stack() && !backbone.stack.token_shift &&
         (backbone.stack.window == 0 || backbone.stack.window >= count);
}

StreamState LanguageModel::mark(const StreamState& state, int64_t count) const {
  // These empty caches on their way.
  if (settings_->backbone.kind == "megabyte" || settings_->backbone.kind == "grouped") return state;
  return {.encoder = state.encoder,
          .marks = state.marks,
          .backbone = state.backbone.mark(count),
          .newest_D = state.newest_D,
          .newest_ids = state.newest_ids,
          .decoder = state.decoder,
          .positions = state.positions,
          .from_document_start = state.from_document_start};
}

void LanguageModel::go_back(StreamState& state, StreamState marked) const {
  if (settings_->backbone.kind != "megabyte" && settings_->backbone.kind != "grouped") {
    state.backbone.go_back(marked.backbone);
    marked.backbone = std::move(state.backbone);
  }
  state = std::move(marked);
}

void LanguageModel::go_back(StreamState& state, StreamState marked, std::span<const int32_t> kept,
                            std::span<const float> rows_RD) {
  VERBATIM_ASSERT(keeps_rows(static_cast<int64_t>(kept.size())));
  if (kept.empty()) return go_back(state, std::move(marked));
  state.backbone.go_back(marked.backbone, static_cast<int64_t>(kept.size()));
  marked.backbone = std::move(state.backbone);
  state = std::move(marked);
  // What is not in the backbone is quickly read again.
  const PositionBatch batch = batch_of(state, kept);
  const auto width = static_cast<size_t>(parts_.backbone->width());
  std::vector<float> x(kept.size() * width);
  EncoderState* encoder = &state.encoder;
  parts_.encoder->encode_rows(batch, std::vector<int64_t>(kept.size(), 0), {&encoder, 1}, x.data());
  for (const uint16_t symbol : batch.symbols) state.marks.read(symbol);
  for (const int32_t id : kept) note_position(state, {id});
  const std::span<const float> newest = rows_RD.subspan((kept.size() - 1) * width, width);
  state.newest_D.assign(newest.begin(), newest.end());
}

PositionBatch LanguageModel::batch_of(const StreamState& state, std::span<const int32_t> ids) const {
  PositionBatch batch;
  Positions positions;
  std::string bytes;
  for (const int32_t id : ids) {
    bytes += bytes_of(state, {id});
    positions.ends.push_back(static_cast<uint32_t>(bytes.size()));
    positions.ids.push_back(id);
  }
  append_positions(batch, segmenter(), positions, bytes,
                   {.end = positions.size(), .start_row = false, .end_target = false});
  return batch;
}

std::vector<float> LanguageModel::read_each(StreamState& state, std::span<const int32_t> ids) {
  StreamState* pointer = &state;
  std::vector<float> rows_RD = advance({&pointer, 1}, batch_of(state, ids), std::vector<int64_t>(ids.size(), 0));
  for (const int32_t id : ids) note_position(state, {id});
  return rows_RD;
}

void LanguageModel::read_positions(std::span<StreamState*> states, const std::vector<std::vector<int32_t>>& ids) {
  PositionBatch batch;
  std::vector<int64_t> stream;
  for (size_t s = 0; s < states.size(); ++s) {
    const std::string bytes = bytes_of(*states[s], ids[s]);
    Positions position{.ends = {static_cast<uint32_t>(bytes.size())}, .ids = ids[s], .id_offsets = {}};
    if (segmenter().sets()) position.id_offsets = {0, static_cast<uint32_t>(ids[s].size())};
    append_positions(batch, segmenter(), position, bytes, {.end = 1, .start_row = false, .end_target = false});
    stream.push_back(static_cast<int64_t>(s));
  }
  advance(states, batch, stream);
  for (size_t s = 0; s < states.size(); ++s) note_position(*states[s], ids[s]);
}

void LanguageModel::note_position(StreamState& state, std::vector<int32_t> ids) const {
  parts_.decoder->note(state.decoder, ids);
  state.newest_ids = std::move(ids);
  ++state.positions;
}

std::string LanguageModel::bytes_of(const StreamState& state, const std::vector<int32_t>& ids) const {
  const bool first = state.positions == 0 && state.from_document_start;
  return segmenter().bytes_of(ids, first ? nullptr : &state.newest_ids);
}

BackboneCost LanguageModel::cost(const PositionBatch& batch) const {
  BackboneCost cost = parts_.backbone->cost(Rows::of(batch));
  cost.multiplications += (parts_.encoder->multiplications_per_row() + parts_.decoder->multiplications_per_row()) *
                          static_cast<double>(batch.rows());
  return cost;
}

int64_t LanguageModel::parameter_count() const {
  int64_t total = 0;
  for (const at::Tensor& parameter : parameters()) total += parameter.numel();
  return total;
}

int64_t LanguageModel::parameter_count_without_tables() const {
  int64_t total = 0;
  for (const auto& parameter : named_parameters()) {
    if (parameter.key().starts_with("encoder.") || parameter.key().starts_with("decoder.head")) continue;
    total += parameter.value().numel();
  }
  return total;
}

}  // namespace verbatim
