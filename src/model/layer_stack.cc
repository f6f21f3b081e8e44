#include "model/layer_stack.h"

#include <cctype>
#include <cmath>

#include "base/error.h"
#include "nn/checkpoint.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

std::shared_ptr<Mixer> make_mixer(char kind, const StackSettings& settings, double residual_scale,
                                  at::Generator& generator) {
  switch (std::tolower(kind)) {
    case 't':
      return make_attention(settings, residual_scale, generator);
    case 's':
      return make_mamba1(settings, residual_scale, generator);
    default:
      VERBATIM_ASSERT(std::tolower(kind) == 'm', "layer kind '{}'", kind);
      return make_mamba2(settings, residual_scale, generator);
  }
}

bool has_mlp(char kind) { return std::isupper(kind) != 0; }

// The MLP without a gate.
at::Tensor activate(const std::string& mlp, const at::Tensor& x_NF) {
  if (mlp == "relu") return at::relu(x_NF);
  if (mlp == "silu") return at::silu(x_NF);
  return at::gelu(x_NF, mlp == "gelu_tanh" ? "tanh" : "none");
}

void activate_rows(const std::string& mlp, float* x, int64_t count) {
  if (mlp == "relu") {
    nn::relu_rows(x, count);
  } else if (mlp == "silu") {
    nn::silu_rows(x, count);
  } else if (mlp == "gelu_tanh") {
    nn::gelu_tanh_rows(x, count);
  } else {
    nn::gelu_rows(x, count);
  }
}

// The second half of the columns one row late, zeros at the start of each sequence.
at::Tensor token_shift(const at::Tensor& x_ND, const nn::Sequences& sequences) {
  const int64_t half = x_ND.size(1) / 2;
  at::Tensor before_N = at::arange(-1, x_ND.size(0) - 1, at::kLong);
  auto* before = before_N.data_ptr<int64_t>();
  for (int64_t s = 0; s < sequences.count(); ++s) {
    if (sequences.length(s) > 0) before[sequences.offsets[s]] = -1;
  }
  const at::Tensor delayed = nn::gather_rows(x_ND.narrow(1, half, half).contiguous(), before_N.to(x_ND.device()));
  return at::cat({x_ND.narrow(1, 0, half), delayed}, 1);
}

}  // namespace

LayerStack::LayerStack(StackSettings settings, std::string kinds, at::Generator& generator)
    : settings_(std::move(settings)) {
  const int64_t width = settings_.width, hidden = settings_.hidden;
  int64_t additions = 0;
  for (const char kind : kinds) additions += has_mlp(kind) ? 2 : 1;
  const double residual_scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(additions, 1)));
  const NormKind norm = norm_kind(settings_.norm);
  auto list = std::make_shared<torch::nn::Module>("layers");
  const auto add = [&](torch::nn::Module& owner, const char* name, int64_t out, int64_t in, double scale) {
    return add_linear(owner, name, initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator),
                      settings_.bias || settings_.mlp_bias ? at::zeros({out}) : at::Tensor());
  };
  for (size_t i = 0; i < kinds.size(); ++i) {
    auto module = std::make_shared<torch::nn::Module>("layer");
    Layer layer;
    layer.input_norm = add_norm(*module, "input_layernorm", width, norm, settings_.norm_epsilon);
    layer.mixer = make_mixer(kinds[i], settings_, residual_scale, generator);
    module->register_module(std::tolower(kinds[i]) == 't' ? "self_attn" : "mixer", layer.mixer);
    layer.has_mlp = has_mlp(kinds[i]);
    if (layer.has_mlp) {
      auto mlp = std::make_shared<torch::nn::Module>("mlp");
      layer.post_norm = add_norm(*module, "post_attention_layernorm", width, norm, settings_.norm_epsilon);
      if (settings_.mlp == "swiglu") layer.gate = add(*mlp, "gate_proj", hidden, width, 1);
      layer.up = add(*mlp, "up_proj", hidden, width, 1);
      layer.down = add(*mlp, "down_proj", width, hidden, residual_scale);
      module->register_module("mlp", mlp);
    }
    list->register_module(std::to_string(i), module);
    layers_.push_back(std::move(layer));
  }
  register_module("layers", list);
}

std::vector<at::Tensor> LayerStack::run_layer(const Layer& layer, const at::Tensor& stream_ND,
                                              const at::Tensor& delta_ND, const nn::Sequences& sequences,
                                              at::ScalarType type) const {
  const auto add = [&](const Norm& norm, const at::Tensor& x_ND, const at::Tensor& delta_ND) {
    if (settings_.token_shift) {
      const at::Tensor sum_ND = Residual{.stream_ND = x_ND, .delta_ND = delta_ND}.sum();
      return std::pair(sum_ND, norm(token_shift(sum_ND, sequences), type));
    }
    return delta_ND.defined() ? norm.add(x_ND, delta_ND, type) : std::pair(x_ND, norm(x_ND, type));
  };
  auto [residual_ND, normed_ND] = add(layer.input_norm, stream_ND, delta_ND);
  const at::Tensor mixed_ND = layer.mixer->forward(normed_ND, sequences);
  if (!layer.has_mlp) return {residual_ND, mixed_ND};
  std::tie(residual_ND, normed_ND) = add(layer.post_norm, residual_ND, mixed_ND);
  const at::Tensor hidden_NF = settings_.mlp == "swiglu" ? nn::swiglu(joined({&layer.gate, &layer.up})(normed_ND))
                                                         : activate(settings_.mlp, layer.up(normed_ND));
  return {residual_ND, layer.down(hidden_NF)};
}

Residual LayerStack::forward(const at::Tensor& x_ND, const nn::Sequences& sequences, const ForwardOptions& options) {
  Residual residual{.stream_ND = x_ND, .delta_ND = {}};
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  for (const Layer& layer : layers_) {
    std::vector<at::Tensor> result;
    if (options.checkpoint_gradients && torch::GradMode::is_enabled()) {
      const auto again = [this, &layer, sequences, type](const std::vector<at::Tensor>& inputs) {
        return run_layer(layer, inputs[0], inputs.size() > 1 ? inputs[1] : at::Tensor(), sequences, type);
      };
      std::vector<at::Tensor> inputs{residual.stream_ND};
      if (residual.delta_ND.defined()) inputs.push_back(residual.delta_ND);
      result = nn::checkpoint(again, inputs);
    } else {
      result = run_layer(layer, residual.stream_ND, residual.delta_ND, sequences, type);
    }
    residual = {.stream_ND = result[0], .delta_ND = result[1]};
  }
  return residual;
}

void LayerStack::advance_mlp(const Layer& layer, const float* normed_RD, float* delta_RD, int64_t count) const {
  const int64_t hidden = settings_.hidden;
  std::vector<float> hidden_rows(count * hidden);
  if (settings_.mlp != "swiglu") {
    layer.up.rows(normed_RD, hidden_rows.data(), count);
    activate_rows(settings_.mlp, hidden_rows.data(), count * hidden);
  } else {
    std::vector<float> gate_up(count * 2 * hidden);
    if (count == 1) {
      layer.gate.rows(normed_RD, gate_up.data(), 1);
      layer.up.rows(normed_RD, gate_up.data() + hidden, 1);
    } else {
      std::vector<float> gate(count * hidden), up(count * hidden);
      layer.gate.rows(normed_RD, gate.data(), count);
      layer.up.rows(normed_RD, up.data(), count);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(&gate[r * hidden], hidden, &gate_up[r * 2 * hidden]);
        std::copy_n(&up[r * hidden], hidden, &gate_up[r * 2 * hidden + hidden]);
      }
    }
    nn::swiglu_rows(gate_up.data(), hidden_rows.data(), count, hidden);
  }
  layer.down.rows(hidden_rows.data(), delta_RD, count);
}

void LayerStack::advance_norm(const Norm& norm, const float* x_RD, float* normed_RD, const StreamRows& rows,
                              std::span<BackboneState*> states, size_t layer, int64_t part) const {
  const auto count = static_cast<int64_t>(rows.stream.size());
  if (!settings_.token_shift) {
    norm.rows(x_RD, normed_RD, count);
    return;
  }
  const int64_t half = settings_.width / 2;
  for (int64_t r = 0; r < count; ++r) {
    std::vector<float>& delayed = states[rows.stream[r]]->layers[layer].delayed;
    delayed.resize(2 * half);
    const float* x = x_RD + r * 2 * half;
    float* shifted = normed_RD + r * 2 * half;
    std::copy_n(x, half, shifted);
    std::copy_n(&delayed[part * half], half, shifted + half);
    std::copy_n(x + half, half, &delayed[part * half]);
  }
  norm.rows(normed_RD, normed_RD, count);
}

void LayerStack::advance_pieces(float* x_RD, std::span<const int64_t> stream, std::span<const uint8_t> begins,
                                std::span<BackboneState*> states) {
  // Each piece is a stream of its own; the newest one of each stream is what the state keeps.
  std::vector<BackboneState> pieces;
  std::vector<int64_t> newest(states.size(), -1), piece_of_row;
  for (size_t r = 0; r < stream.size(); ++r) {
    int64_t& piece = newest[stream[r]];
    if (piece < 0 || begins[r] != 0) {
      const bool goes_on = piece < 0 && begins[r] == 0;
      piece = static_cast<int64_t>(pieces.size());
      pieces.emplace_back();
      if (goes_on) {
        pieces.back().layers = std::move(states[stream[r]]->layers);
      } else {
        pieces.back().layers.resize(layers_.size());
      }
    }
    piece_of_row.push_back(piece);
  }
  std::vector<BackboneState*> pointers;
  pointers.reserve(pieces.size());
  for (BackboneState& piece : pieces) pointers.push_back(&piece);
  advance(x_RD, {.stream = piece_of_row, .symbols = {}, .marks = {}}, pointers, 0);
  for (size_t s = 0; s < states.size(); ++s) {
    if (newest[s] >= 0) states[s]->layers = std::move(pieces[newest[s]].layers);
  }
}

void LayerStack::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states, size_t first_layer) {
  if (layers_.empty() || rows.stream.empty()) return;
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t width = settings_.width;
  std::vector<float> normed(count * width), delta(count * width);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    advance_norm(layer.input_norm, x_RD, normed.data(), rows, states, first_layer + l, 0);
    layer.mixer->advance(normed.data(), delta.data(), rows, states, first_layer + l);
    nn::add_rows(x_RD, delta.data(), count * width);
    if (!layer.has_mlp) continue;
    advance_norm(layer.post_norm, x_RD, normed.data(), rows, states, first_layer + l, 1);
    advance_mlp(layer, normed.data(), delta.data(), count);
    nn::add_rows(x_RD, delta.data(), count * width);
  }
}

double LayerStack::cost(const nn::Sequences& sequences) const {
  double total = 0;
  for (const Layer& layer : layers_) {
    total += layer.mixer->cost(sequences);
    for (const LinearWeights* part : {&layer.gate, &layer.up, &layer.down}) {
      if (part->weight_ED.defined())
        total += static_cast<double>(part->weight_ED.numel()) * static_cast<double>(sequences.rows());
    }
  }
  return total;
}

StackMemory LayerStack::memory() const {
  StackMemory memory;
  for (const Layer& layer : layers_) {
    memory.floats_per_row += layer.mixer->floats_per_row();
    memory.floats_per_stream += layer.mixer->floats_per_stream();
    // Inputs and outputs of the norms; gate, up and their product.
    memory.saved_per_row += layer.mixer->saved_per_row() + 2 * static_cast<double>(settings_.width);
    if (layer.has_mlp)
      memory.saved_per_row += 2 * static_cast<double>(settings_.width) + 3.0 * static_cast<double>(settings_.hidden);
  }
  return memory;
}

StackBackbone::StackBackbone(const BackboneSettings& settings, at::Generator& generator)
    : stack_(std::make_shared<LayerStack>(settings.stack, settings.layer_kinds(), generator)),
      positions_(*this, "positions", settings.stack.positions, settings.stack.width, generator),
      has_norm_(settings.closing_norm) {
  // Registered so that names read model.layers.N and model.norm, as Llama's do.
  for (const auto& child : stack_->named_children()) register_module(child.key(), child.value());
  if (!has_norm_) return;
  norm_ = add_norm(*this, "norm", settings.stack.width, norm_kind(settings.stack.norm), settings.stack.norm_epsilon);
}

at::Tensor StackBackbone::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  const Residual residual = stack_->forward(positions_.add(x_ND, rows.sequences), rows.sequences, options);
  return has_norm_ ? residual.normed(norm_, type) : residual.sum().to(type);
}

BackboneState StackBackbone::start() const {
  BackboneState state;
  state.layers.resize(static_cast<size_t>(stack_->layers()));
  return state;
}

void StackBackbone::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  for (size_t r = 0; r < rows.stream.size(); ++r)
    positions_.add_row(x_RD + static_cast<int64_t>(r) * width(), states[rows.stream[r]]->rows++);
  stack_->advance(x_RD, rows, states, 0);
  if (has_norm_) norm_.rows(x_RD, x_RD, static_cast<int64_t>(rows.stream.size()));
}

BackboneCost StackBackbone::cost(const Rows& rows) const {
  return {.multiplications = stack_->cost(rows.sequences), .innermost_rows = static_cast<double>(rows.count())};
}

}  // namespace verbatim
