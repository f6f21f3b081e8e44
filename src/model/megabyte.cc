#include "model/megabyte.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/index_tensor.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

// Legend: N rows, R slots of a stage, d width of a stage, n positions of a stage under one of the stage before, r bytes
// of a position, E width of the last stage.
namespace verbatim {

namespace {

constexpr int64_t kBytes = 256;

bool has_start_row(const Rows& rows, int64_t sequence) {
  const nn::Sequences& sequences = rows.sequences;
  return sequences.length(sequence) > 0 && rows.symbols[sequences.offsets[sequence]] == kStartSymbol;
}

}  // namespace

Megabyte::Megabyte(const BackboneSettings& settings, at::Generator& generator) : settings_(settings) {
  const size_t count = settings_.widths.size();
  const int64_t E = settings_.widths.back();
  const auto weight = [&](int64_t out, int64_t in) {
    return initial_weight(out, in, 1 / std::sqrt(static_cast<double>(in)), generator);
  };
  const double epsilon = settings_.stack.norm_epsilon;
  constexpr double kVectorEpsilon = 1e-5;
  int64_t bytes = 1;
  stages_.resize(count);
  for (size_t s = count; s-- > 0;) {
    stages_[s].bytes = bytes;
    stages_[s].length = settings_.lengths[s];
    bytes *= stages_[s].length;
  }
  auto list = std::make_shared<torch::nn::Module>("stages");
  for (size_t s = 0; s < count; ++s) {
    Stage& stage = stages_[s];
    StackSettings shape = settings_.megabyte_stage(s);
    shape.resolve("backbone", std::string(static_cast<size_t>(shape.layers), 'T'));
    const int64_t d = shape.width;
    auto module = std::make_shared<torch::nn::Module>("stage");
    stage.start = module->register_parameter("start", weight(1, d).reshape({d}));
    stage.positions =
        PositionTable(*module, "positions", settings_.absolute_positions ? stage.length : 0, d, generator);
    if (s + 1 < count) {
      const int64_t concatenated = stage.bytes * E;
      stage.table = add_linear(*module, "table", weight(kBytes, E)).weight_ED;
      stage.bytes_norm = add_norm(*module, "bytes_norm", concatenated, NormKind::kLayer, kVectorEpsilon);
      stage.project = add_linear(*module, "project", weight(d, concatenated), at::zeros({d}));
      stage.vector_norm = add_norm(*module, "vector_norm", d, NormKind::kLayer, kVectorEpsilon);
    }
    stage.layers = std::make_shared<LayerStack>(shape, std::string(static_cast<size_t>(shape.layers), 'T'), generator);
    for (const auto& child : stage.layers->named_children()) module->register_module(child.key(), child.value());
    stage.norm = add_norm(*module, "norm", d, NormKind::kRms, epsilon);
    if (s + 1 < count) {
      const int64_t sent = settings_.lengths[s + 1] * settings_.widths[s + 1];
      stage.messages = add_linear(*module, "messages", weight(sent, d), at::zeros({sent}));
    }
    list->register_module(std::to_string(s), module);
  }
  register_module("stages", list);
}

void Megabyte::check_length(int64_t bytes) const {
  const Stage& first = stages_.front();
  if (first.length == 0 || bytes <= first.length * first.bytes) return;
  throw_input(
      "a text has {} bytes or more, the stages of the model hold {} (the product of backbone.lengths); use shorter "
      "texts or windows (data.window_bytes in training), or train a model with a larger first length",
      bytes, first.length * first.bytes);
}

Megabyte::Layout Megabyte::layout_of(const Rows& rows) const {
  Layout layout;
  layout.stages.resize(stages_.size());
  layout.slot_of_row.reserve(static_cast<size_t>(rows.count()));
  for (int64_t q = 0; q < rows.sequences.count(); ++q) {
    if (rows.sequences.length(q) == 0) continue;
    const int64_t first_byte = rows.sequences.offsets[q] + (has_start_row(rows, q) ? 1 : 0);
    const int64_t bytes = rows.sequences.offsets[q + 1] - first_byte;
    check_length(bytes);
    // Row k of a coarse stage sends messages to group k of the next one: as many rows as groups that have begun.
    int64_t first_message = 0;  // of this text, among the messages of the stage before
    for (size_t s = 0; s < stages_.size(); ++s) {
      const Stage& stage = stages_[s];
      Slots& slots = layout.stages[s];
      const bool last = s + 1 == stages_.size();
      const auto rows_before = static_cast<int64_t>(slots.start.size());
      const int64_t n = stage.length == 0 ? bytes + 1 : stage.length;
      const auto add = [&](int64_t group, int64_t slot, int64_t position) {
        if (slot == 0 && !slots.start.empty()) slots.sequences.offsets.push_back(slots.start.size());
        slots.start.push_back(slot == 0 ? 0 : -1);
        slots.position.push_back(slot - 1);
        slots.message.push_back(s == 0 || slot == 0 ? -1 : first_message + group * n + slot - 1);
        if (last) {
          slots.source.push_back(slot == 0 ? -1 : first_byte + position);
        } else {
          for (int64_t i = 0; i < stage.bytes; ++i)
            slots.bytes.push_back(slot == 0 ? -1 : rows.symbols[first_byte + position * stage.bytes + i]);
        }
      };
      if (!last) {
        const int64_t count = (bytes + stage.bytes - 1) / stage.bytes;
        for (int64_t k = 0; k < count; ++k) add(k / n, k % n, k - 1);
        first_message = rows_before * stages_[s + 1].length;
        continue;
      }
      if (first_byte > rows.sequences.offsets[q]) layout.slot_of_row.push_back(rows_before);
      if (bytes == 0) add(0, 0, -1);
      for (int64_t b = 0; b < bytes; ++b) {
        if (b % n == 0) add(b / n, 0, -1);
        layout.slot_of_row.push_back(static_cast<int64_t>(slots.start.size()));
        add(b / n, b % n + 1, b);
      }
    }
  }
  for (Slots& slots : layout.stages) {
    if (!slots.start.empty()) slots.sequences.offsets.push_back(static_cast<int64_t>(slots.start.size()));
  }
  return layout;
}

at::Tensor Megabyte::position_vectors(const Stage& stage, const std::vector<int64_t>& bytes,
                                      const at::Device& device) const {
  const int64_t count = static_cast<int64_t>(bytes.size()) / stage.bytes;
  const at::Tensor read = nn::gather_rows(stage.table, index_tensor(bytes, device));
  const at::Tensor normed = stage.bytes_norm(read.reshape({count, stage.bytes * read.size(1)}), read.scalar_type());
  return stage.vector_norm(stage.project(normed), read.scalar_type());
}

at::Tensor Megabyte::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType wide = x_ND.scalar_type();
  const at::ScalarType type = wide == at::kDouble ? wide : options.compute_type;
  const at::Device device = x_ND.device();
  if (rows.count() == 0) return x_ND.to(type);
  const Layout layout = layout_of(rows);
  at::Tensor messages, y_RD;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const Slots& slots = layout.stages[s];
    if (slots.start.empty()) continue;  // no text has a byte
    at::Tensor slots_RD = nn::gather_rows(stage.start.unsqueeze(0), index_tensor(slots.start, device));
    if (s + 1 == stages_.size()) {
      slots_RD = slots_RD + nn::gather_rows(x_ND, index_tensor(slots.source, device));
    } else {
      // Slots that hold a position have its vector; slot 0 none.
      std::vector<int64_t> bytes, place(slots.start.size(), -1);
      for (size_t row = 0; row < place.size(); ++row) {
        if (slots.start[row] == 0) continue;
        place[row] = static_cast<int64_t>(bytes.size()) / stage.bytes;
        const auto from = slots.bytes.begin() + static_cast<int64_t>(row) * stage.bytes;
        bytes.insert(bytes.end(), from, from + stage.bytes);
      }
      if (!bytes.empty()) {
        slots_RD = slots_RD + nn::gather_rows(position_vectors(stage, bytes, device), index_tensor(place, device));
      }
    }
    if (stage.positions.defined())
      slots_RD = slots_RD + nn::gather_rows(stage.positions.weight(), index_tensor(slots.position, device));
    if (messages.defined()) slots_RD = slots_RD + nn::gather_rows(messages, index_tensor(slots.message, device));
    y_RD = stage.layers->forward(slots_RD, slots.sequences, options).normed(stage.norm, type);
    if (s + 1 < stages_.size()) messages = stage.messages(y_RD).to(wide).reshape({-1, settings_.widths[s + 1]});
  }
  return nn::gather_rows(y_RD.to(wide), index_tensor(layout.slot_of_row, device)).to(type);
}

BackboneState Megabyte::start() const {
  BackboneState state;
  for (const Stage& stage : stages_) {
    BackboneState inner;
    inner.layers.resize(static_cast<size_t>(stage.layers->layers()));
    state.inner.push_back(std::move(inner));
  }
  return state;
}

// In a state: rows is the number of bytes read; recent the bytes of the first stage's open position; open_rows 1 once
// slot 0 of the first group has run. In the state of a stage: above are the newest messages it has sent.
std::vector<Megabyte::DueSlots> Megabyte::due_slots(const StreamRows& rows, std::span<BackboneState*> states) const {
  std::vector<DueSlots> due(stages_.size());
  std::vector<std::vector<int64_t>> newest(stages_.size(), std::vector<int64_t>(states.size(), -1));
  for (size_t r = 0; r < rows.stream.size(); ++r) {
    const int64_t stream = rows.stream[r];
    BackboneState& state = *states[stream];
    const auto add = [&](size_t s, int64_t slot, int64_t row) {
      DueSlots& slots = due[s];
      newest[s][stream] = static_cast<int64_t>(slots.stream.size());
      slots.stream.push_back(stream);
      slots.begins.push_back(slot == 0 ? 1 : 0);
      slots.position.push_back(slot - 1);
      slots.parent.push_back(s == 0 ? -1 : newest[s - 1][stream]);
      slots.row.push_back(row);
    };
    const size_t last = stages_.size() - 1;
    if (rows.symbols[r] == kStartSymbol) {
      add(last, 0, static_cast<int64_t>(r));
      state.open_rows = 1;
      continue;
    }
    const int64_t byte = state.rows++;
    check_length(byte + 1);
    // The coarsest stages first: each sends its messages before the next one needs them.
    for (size_t s = 0; s < last; ++s) {
      const Stage& stage = stages_[s];
      if (byte % stage.bytes != 0) continue;
      const int64_t k = byte / stage.bytes, slot = stage.length == 0 ? k : k % stage.length;
      add(s, slot, -1);
      if (slot == 0) continue;
      due[s].bytes.insert(due[s].bytes.end(), state.recent.end() - stage.bytes, state.recent.end());
    }
    if (byte % stages_.front().bytes == 0) state.recent.clear();
    state.recent.push_back(rows.symbols[r]);
    const int64_t inside = byte % stages_[last].length;
    if (inside == 0 && (byte > 0 || state.open_rows == 0)) add(last, 0, -1);
    add(last, inside + 1, static_cast<int64_t>(r));
  }
  return due;
}

void Megabyte::position_vector(const Stage& stage, const uint16_t* bytes, float* x_D) const {
  const int64_t E = stage.table.size(1);
  std::vector<float> read(static_cast<size_t>(stage.bytes * E));
  for (int64_t i = 0; i < stage.bytes; ++i) std::copy_n(stage.table.data_ptr<float>() + bytes[i] * E, E, &read[i * E]);
  stage.bytes_norm.rows(read.data(), read.data(), 1);
  stage.project.rows(read.data(), x_D, 1);
  stage.vector_norm.rows(x_D, x_D, 1);
}

std::vector<float> Megabyte::slot_vectors(size_t s, const DueSlots& due, const std::vector<float>& messages,
                                          const float* x_RD, std::span<BackboneState*> states) const {
  const Stage& stage = stages_[s];
  const int64_t d = settings_.widths[s], n = stage.length;
  std::vector<float> slots(due.stream.size() * static_cast<size_t>(d));
  const uint16_t* bytes = due.bytes.data();
  for (size_t i = 0; i < due.stream.size(); ++i) {
    float* slot = slots.data() + static_cast<int64_t>(i) * d;
    if (due.begins[i] != 0) {
      std::copy_n(stage.start.data_ptr<float>(), d, slot);
      continue;
    }
    if (s + 1 < stages_.size()) {
      position_vector(stage, bytes, slot);
      bytes += stage.bytes;
    } else {
      std::copy_n(x_RD + due.row[i] * d, d, slot);
    }
    stage.positions.add_row(slot, due.position[i]);
    if (s == 0) continue;
    const float* sent =
        due.parent[i] >= 0 ? messages.data() + due.parent[i] * n * d : states[due.stream[i]]->inner[s - 1].above.data();
    nn::add_rows(slot, sent + due.position[i] * d, d);
  }
  return slots;
}

void Megabyte::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  const std::vector<DueSlots> due = due_slots(rows, states);
  std::vector<float> messages;  // of the stage before, in this call
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const DueSlots& slots = due[s];
    const auto count = static_cast<int64_t>(slots.stream.size());
    std::vector<float> y = slot_vectors(s, slots, messages, x_RD, states);
    // The messages that this stage had from the one before are used up: what the next call needs is the newest.
    if (s > 0) {
      const int64_t sent = stage.length * settings_.widths[s];
      for (size_t i = 0; i < due[s - 1].stream.size(); ++i) {
        const float* from = messages.data() + static_cast<int64_t>(i) * sent;
        states[due[s - 1].stream[i]]->inner[s - 1].above.assign(from, from + sent);
      }
    }
    std::vector<BackboneState*> stage_states;
    for (BackboneState* state : states) stage_states.push_back(&state->inner[s]);
    stage.layers->advance_pieces(y.data(), slots.stream, slots.begins, stage_states);
    stage.norm.rows(y.data(), y.data(), count);
    if (s + 1 < stages_.size()) {
      messages.resize(count * stage.messages.weight_ED.size(0));
      if (count > 0) stage.messages.rows(y.data(), messages.data(), count);
      continue;
    }
    const int64_t d = width();
    for (int64_t i = 0; i < count; ++i) {
      if (slots.row[i] >= 0) std::copy_n(y.data() + i * d, d, x_RD + slots.row[i] * d);
    }
  }
}

BackboneCost Megabyte::cost(const Rows& rows) const {
  const Layout layout = layout_of(rows);
  BackboneCost cost;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const auto count = static_cast<double>(layout.stages[s].start.size());
    cost.multiplications += stage.layers->cost(layout.stages[s].sequences);
    for (const LinearWeights* part : {&stage.messages, &stage.project}) {
      if (part->weight_ED.defined()) cost.multiplications += count * static_cast<double>(part->weight_ED.numel());
    }
  }
  cost.innermost_rows = static_cast<double>(layout.stages.front().start.size());
  return cost;
}

// For each byte: a coarse stage has one row for each of its positions. Keys and values of a stage last for one position
// of the stage before; those of the first stage for good.
StackMemory Megabyte::memory() const {
  StackMemory memory;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const StackMemory own = stage.layers->memory();
    const auto bytes = static_cast<double>(stage.bytes);
    const double slots = s + 1 < stages_.size() ? 1 / bytes : 1 + 1 / static_cast<double>(stage.length);
    memory.saved_per_row += slots * (own.saved_per_row + 4 * static_cast<double>(settings_.widths[s]));
    memory.floats_per_stream += own.floats_per_stream;
    if (s == 0) {
      memory.floats_per_row += own.floats_per_row / bytes;
    } else {
      memory.floats_per_stream += own.floats_per_row * static_cast<double>(stage.length + 1);
    }
  }
  return memory;
}

}  // namespace verbatim
