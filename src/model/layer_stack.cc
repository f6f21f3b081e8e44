#include "model/layer_stack.h"

#include <torch/torch.h>

#include <cctype>
#include <cmath>

#include "base/error.h"
#include "nn/checkpoint.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"

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

}  // namespace

LayerStack::LayerStack(StackSettings settings, std::string kinds, at::Generator& generator)
    : settings_(std::move(settings)) {
  const int64_t width = settings_.width, hidden = settings_.hidden;
  int64_t additions = 0;
  for (const char kind : kinds) additions += has_mlp(kind) ? 2 : 1;
  const double residual_scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(additions, 1)));
  const bool has_shift = settings_.norm == "layer";
  auto list = std::make_shared<torch::nn::Module>("layers");
  const auto add = [&](torch::nn::Module& owner, const char* name, int64_t out, int64_t in, double scale) {
    return add_linear(owner, name, initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator),
                      settings_.bias ? at::zeros({out}) : at::Tensor());
  };
  for (size_t i = 0; i < kinds.size(); ++i) {
    auto module = std::make_shared<torch::nn::Module>("layer");
    Layer layer;
    layer.input_norm = add_norm(*module, "input_layernorm", width, has_shift, settings_.norm_epsilon);
    layer.mixer = make_mixer(kinds[i], settings_, residual_scale, generator);
    module->register_module(std::tolower(kinds[i]) == 't' ? "self_attn" : "mixer", layer.mixer);
    layer.has_mlp = has_mlp(kinds[i]);
    if (layer.has_mlp) {
      auto mlp = std::make_shared<torch::nn::Module>("mlp");
      layer.post_norm = add_norm(*module, "post_attention_layernorm", width, has_shift, settings_.norm_epsilon);
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
  at::Tensor residual_ND = stream_ND, normed_ND;
  if (delta_ND.defined()) {
    std::tie(residual_ND, normed_ND) = layer.input_norm.add(stream_ND, delta_ND, type);
  } else {
    normed_ND = layer.input_norm(stream_ND, type);
  }
  const at::Tensor mixed_ND = layer.mixer->forward(normed_ND, sequences);
  if (!layer.has_mlp) return {residual_ND, mixed_ND};
  std::tie(residual_ND, normed_ND) = layer.post_norm.add(residual_ND, mixed_ND, type);
  const at::Tensor hidden_NF = settings_.mlp == "swiglu" ? nn::swiglu(joined({&layer.gate, &layer.up})(normed_ND))
                                                         : at::gelu(layer.up(normed_ND));
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
    nn::gelu_rows(hidden_rows.data(), count * hidden);
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

void LayerStack::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states, size_t first_layer) {
  if (layers_.empty() || rows.stream.empty()) return;
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t width = settings_.width;
  std::vector<float> normed(count * width), delta(count * width);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    layer.input_norm.rows(x_RD, normed.data(), count);
    layer.mixer->advance(normed.data(), delta.data(), rows, states, first_layer + l);
    nn::add_rows(x_RD, delta.data(), count * width);
    if (!layer.has_mlp) continue;
    layer.post_norm.rows(x_RD, normed.data(), count);
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
    : stack_(std::make_shared<LayerStack>(settings.stack, settings.layer_kinds(), generator)) {
  // Registered so that names read model.layers.N and model.norm, as Llama's do.
  for (const auto& child : stack_->named_children()) register_module(child.key(), child.value());
  norm_ = add_norm(*this, "norm", settings.stack.width, settings.stack.norm == "layer", settings.stack.norm_epsilon);
}

at::Tensor StackBackbone::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  return stack_->forward(x_ND, rows.sequences, options).normed(norm_, type);
}

BackboneState StackBackbone::start() const {
  BackboneState state;
  state.layers.resize(static_cast<size_t>(stack_->layers()));
  return state;
}

void StackBackbone::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  stack_->advance(x_RD, rows, states, 0);
  norm_.rows(x_RD, x_RD, static_cast<int64_t>(rows.stream.size()));
}

BackboneCost StackBackbone::cost(const Rows& rows) const {
  return {.multiplications = stack_->cost(rows.sequences), .innermost_rows = static_cast<double>(rows.count())};
}

}  // namespace verbatim
