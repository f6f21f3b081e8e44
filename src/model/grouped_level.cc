#include "model/grouped_level.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/index_tensor.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

// Legend: N rows, K patches of P rows, D width of this level, I width inside, E = I / P the share of one byte.
namespace verbatim {

namespace {

constexpr int64_t kBytes = 256;

// A learned vector, drawn as the rows of a table of bytes are.
at::Tensor initial_vector(int64_t width, at::Generator& generator) {
  return initial_weight(1, width, 1 / std::sqrt(static_cast<double>(width)), generator).reshape({width});
}

// Every patch is a sequence of its own.
nn::Sequences patch_sequences(const Patches& patches, const Rows& rows) {
  if (patches.boundary_row.empty()) return {};
  nn::Sequences sequences{.offsets = patches.boundary_row};  // a boundary is the first row of [kP, kP + P)
  sequences.offsets.push_back(rows.count());
  return sequences;
}

}  // namespace

GroupedLevel::GroupedLevel(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator)
    : settings_(settings),
      boundary_(BoundaryRule::parse(fmt::format("fixed:{}", settings.group), "backbone")),
      inner_(std::move(inner)),
      after_(std::make_shared<LayerStack>(settings.stack, settings.kinds_after(), generator)) {
  const int64_t D = settings_.width(), I = inner_->width(), P = settings_.group, E = I / P;
  const double deviation = 1 / std::sqrt(static_cast<double>(E));
  table_ = add_linear(*this, "inner_table", initial_weight(kBytes, E, deviation, generator)).weight_ED;
  inner_positions_ = PositionTable(*this, "inner_positions", settings_.stack.positions, E, generator);
  local_positions_ = PositionTable(*this, "positions", settings_.stack.positions == 0 ? 0 : P, D, generator);
  inner_pad_ = register_parameter("inner_pad", initial_vector(I, generator));
  pad_ = register_parameter("pad", initial_vector(D, generator));
  register_module("inner", inner_);
  down_ = add_linear(*this, "down", initial_weight(D, E, deviation, generator), at::zeros({D}));
  register_module("after", after_);
  norm_ = add_norm(*this, "norm", D, norm_kind(settings_.stack.norm), settings_.stack.norm_epsilon);
}

at::Tensor GroupedLevel::patch_vectors(const Patches& patches, const Rows& rows, const at::Device& device) const {
  const auto num_patches = static_cast<int64_t>(patches.boundary_row.size());
  const int64_t P = settings_.group, E = table_.size(1);
  std::vector<int64_t> byte, position, pad(static_cast<size_t>(num_patches), -1);  // [K P], [K P], [K]
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    const int64_t first = rows.sequences.offsets[s];
    for (int64_t k = patches.inner.sequences.offsets[s]; k < patches.inner.sequences.offsets[s + 1]; ++k) {
      const int64_t last = patches.boundary_row[k];
      if (last == first) pad[k] = 0;
      if (last != first) inner_positions_.check(last - first + P);
      for (int64_t row = last - P + 1; row <= last; ++row) {
        byte.push_back(last == first ? -1 : rows.symbols[row]);
        // Positions count the P - 1 places in front of the first byte as well.
        position.push_back(last == first ? -1 : row - first + P - 1);
      }
    }
  }
  at::Tensor vectors_PE = nn::gather_rows(table_, index_tensor(byte, device));
  if (inner_positions_.defined())
    vectors_PE = vectors_PE + nn::gather_rows(inner_positions_.weight(), index_tensor(position, device));
  return vectors_PE.reshape({num_patches, P * E}) + nn::gather_rows(inner_pad_.unsqueeze(0), index_tensor(pad, device));
}

at::Tensor GroupedLevel::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType wide = x_ND.scalar_type();
  const at::ScalarType type = wide == at::kDouble ? wide : options.compute_type;
  const int64_t D = width(), P = settings_.group, E = table_.size(1);
  if (rows.count() == 0) return x_ND.to(type);
  const Patches patches = find_patches(boundary_, rows);
  if (options.notes != nullptr) options.notes->levels.push_back(patches.notes(rows));
  const at::Tensor y_KI = patch_vectors(patches, rows, x_ND.device());
  const at::Tensor z_KI = inner_->forward(y_KI, patches.inner, options);
  const at::Tensor message_PD = down_(z_KI.reshape({z_KI.size(0) * P, E}).contiguous()).to(wide);

  std::vector<int64_t> source(static_cast<size_t>(rows.count())), pad(source.size(), -1);
  std::vector<float> reads(source.size(), 1);  // 0 at rows whose own vector is not read
  for (int64_t row = 0; row < rows.count(); ++row) {
    const int64_t patch = patches.newest[row], inside = row - patches.boundary_row[patch];
    source[row] = patch * P + inside;
    if (inside > 0) continue;
    pad[row] = 0;
    reads[row] = 0;
  }
  const at::Device device = x_ND.device();
  const nn::Sequences own = patch_sequences(patches, rows);
  const at::Tensor reads_N1 = at::tensor(reads).to(device, wide).unsqueeze(1);
  const at::Tensor v_ND = local_positions_.add(x_ND, own) * reads_N1 +
                          nn::gather_rows(pad_.unsqueeze(0), index_tensor(pad, device)) +
                          nn::gather_rows(message_PD, index_tensor(source, device));
  VERBATIM_ASSERT(v_ND.size(1) == D);
  return after_->forward(v_ND, own, options).normed(norm_, type);
}

BackboneState GroupedLevel::start() const {
  BackboneState state;
  state.layers.resize(static_cast<size_t>(after_->layers()));
  state.inner.push_back(inner_->start());
  return state;
}

void GroupedLevel::patch_vector(const std::vector<uint16_t>& recent, int64_t patch, float* y_I) const {
  const int64_t P = settings_.group, E = table_.size(1);
  if (patch == 0) {
    std::copy_n(inner_pad_.data_ptr<float>(), P * E, y_I);
    return;
  }
  for (int64_t i = 0; i < P; ++i) {
    std::copy_n(table_.data_ptr<float>() + recent[recent.size() - static_cast<size_t>(P - i)] * E, E, y_I + i * E);
    inner_positions_.add_row(y_I + i * E, patch * P + i);
  }
}

void GroupedLevel::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t D = width(), I = inner_->width(), P = settings_.group, E = I / P;
  // Complete patches go to the inner backbone, all at once.
  std::vector<int64_t> inner_stream, inside(static_cast<size_t>(count));
  std::vector<uint16_t> inner_symbols;
  std::vector<uint8_t> inner_marks, begins(static_cast<size_t>(count));
  std::vector<float> inner_x;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    state.marks |= rows.marks[r];
    state.recent.push_back(rows.symbols[r]);
    inside[r] = state.rows % P;
    begins[r] = inside[r] == 0 ? 1 : 0;
    const int64_t patch = state.rows / P;
    ++state.rows;
    if (inside[r] != 0) continue;
    inner_stream.push_back(rows.stream[r]);
    inner_symbols.push_back(rows.symbols[r]);
    inner_marks.push_back(state.marks);
    state.marks = 0;
    inner_x.resize(inner_x.size() + I);
    patch_vector(state.recent, patch, inner_x.data() + inner_x.size() - I);
    state.recent.clear();
  }
  std::vector<BackboneState*> inner_states;
  for (BackboneState* state : states) inner_states.push_back(&state->inner.front());
  if (!inner_stream.empty()) inner_->advance(inner_x.data(), {inner_stream, inner_symbols, inner_marks}, inner_states);

  const auto num_patches = static_cast<int64_t>(inner_stream.size());
  std::vector<float> messages(num_patches * P * D);
  if (num_patches > 0) down_.rows(inner_x.data(), messages.data(), num_patches * P);
  VERBATIM_ASSERT(static_cast<int64_t>(inner_x.size()) == num_patches * P * E);
  int64_t next_patch = 0;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    float* x = x_RD + r * D;
    if (begins[r] != 0) {
      const float* message = messages.data() + next_patch++ * P * D;
      state.above.assign(message, message + P * D);
      std::copy_n(pad_.data_ptr<float>(), D, x);
    } else {
      local_positions_.add_row(x, inside[r]);
    }
    nn::add_rows(x, state.above.data() + inside[r] * D, D);
  }
  after_->advance_pieces(x_RD, rows.stream, begins, states);
  norm_.rows(x_RD, x_RD, count);
}

BackboneCost GroupedLevel::cost(const Rows& rows) const {
  const Patches patches = find_patches(boundary_, rows);
  BackboneCost cost = inner_->cost(patches.inner);
  cost.multiplications += after_->cost(patch_sequences(patches, rows));
  cost.multiplications += static_cast<double>(patches.inner.count() * settings_.group * down_.weight_ED.numel());
  return cost;
}

StackMemory GroupedLevel::memory() const {
  StackMemory memory = after_->memory();
  // A patch's keys and values are forgotten at its end.
  memory.floats_per_stream += memory.floats_per_row * static_cast<double>(settings_.group);
  memory.floats_per_row = 0;
  memory.saved_per_row += 4 * static_cast<double>(width());
  return memory;
}

}  // namespace verbatim
