#include "model/transformer.h"

#include <torch/torch.h>

#include <cmath>

#include "base/error.h"
#include "nn/checkpoint.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"

namespace verbatim {

namespace {
thread_local int shapes_only_depth = 0;
}

ShapesOnly::ShapesOnly() { ++shapes_only_depth; }
ShapesOnly::~ShapesOnly() { --shapes_only_depth; }
bool ShapesOnly::active() { return shapes_only_depth > 0; }

at::Tensor initial_weight(int64_t out, int64_t in, double deviation, at::Generator& generator) {
  if (ShapesOnly::active()) return at::empty({out, in}, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  at::Tensor weight = at::empty({out, in}, at::kFloat);
  weight.normal_(0.0, deviation, generator);
  return weight.clamp_(-3 * deviation, 3 * deviation);
}

at::Tensor Residual::sum() const {
  return delta_ND.defined() ? stream_ND + delta_ND.to(stream_ND.scalar_type()) : stream_ND;
}

at::Tensor Residual::normed(const Norm& norm, at::ScalarType type) const {
  return delta_ND.defined() ? norm.add(stream_ND, delta_ND, type).second : norm(stream_ND, type);
}

at::Tensor Norm::operator()(const at::Tensor& x_ND, at::ScalarType type) const {
  if (!shift_D.defined()) return nn::rms_norm(x_ND, gain_D, epsilon, type);
  return at::layer_norm(x_ND, {x_ND.size(1)}, gain_D, shift_D, epsilon).to(type);
}

std::pair<at::Tensor, at::Tensor> Norm::add(const at::Tensor& x_ND, const at::Tensor& delta_ND,
                                            at::ScalarType type) const {
  if (!shift_D.defined()) return nn::add_rms_norm(x_ND, delta_ND, gain_D, epsilon, type);
  const at::Tensor sum_ND = x_ND + delta_ND.to(x_ND.scalar_type());
  return {sum_ND, (*this)(sum_ND, type)};
}

void Norm::rows(const float* x_RD, float* y_RD, int64_t count) const {
  const int64_t width = gain_D.numel();
  if (!shift_D.defined()) {
    nn::rms_norm_rows(x_RD, gain_D.data_ptr<float>(), y_RD, count, width, epsilon);
  } else {
    nn::layer_norm_rows(x_RD, gain_D.data_ptr<float>(), shift_D.data_ptr<float>(), y_RD, count, width, epsilon);
  }
}

at::Tensor LinearWeights::operator()(const at::Tensor& x_ND) const { return nn::linear(x_ND, weight_ED, bias_E); }

void LinearWeights::rows(const float* x_RD, float* y_RE, int64_t count) const {
  const int64_t out = weight_ED.size(0);
  nn::multiply_rows(x_RD, weight_ED.data_ptr<float>(), y_RE, count, weight_ED.size(1), out);
  if (!bias_E.defined()) return;
  for (int64_t r = 0; r < count; ++r) nn::add_rows(y_RE + r * out, bias_E.data_ptr<float>(), out);
}

namespace {

// One product instead of several that read the same rows.
LinearWeights joined(std::initializer_list<const LinearWeights*> parts) {
  std::vector<at::Tensor> weights, biases;
  for (const LinearWeights* part : parts) {
    weights.push_back(part->weight_ED);
    if (part->bias_E.defined()) biases.push_back(part->bias_E);
  }
  return {.weight_ED = at::cat(weights), .bias_E = biases.empty() ? at::Tensor() : at::cat(biases)};
}

// Registers a module `name` with a weight and, when defined, a bias.
std::pair<at::Tensor, at::Tensor> add_module(torch::nn::Module& owner, const char* name, at::Tensor weight,
                                             const at::Tensor& bias) {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  const at::Tensor registered = holder->register_parameter("weight", std::move(weight));
  return {registered, bias.defined() ? holder->register_parameter("bias", bias) : at::Tensor()};
}

Norm add_norm(torch::nn::Module& owner, const char* name, const StackSettings& settings) {
  const bool has_shift = settings.norm == "layer";
  auto [gain, shift] =
      add_module(owner, name, at::ones({settings.width}), has_shift ? at::zeros({settings.width}) : at::Tensor());
  return {.gain_D = gain, .shift_D = shift, .epsilon = settings.norm_epsilon};
}

}  // namespace

TransformerStack::TransformerStack(StackSettings settings, int64_t layers, at::Generator& generator)
    : settings_(std::move(settings)) {
  const int64_t width = settings_.width, hidden = settings_.hidden;
  const int64_t query_width = settings_.heads * settings_.head_width;
  const int64_t key_width = settings_.key_value_heads * settings_.head_width;
  const double residual_scale = 1 / std::sqrt(2.0 * static_cast<double>(std::max<int64_t>(layers, 1)));
  auto list = std::make_shared<torch::nn::Module>("layers");
  const auto add = [&](torch::nn::Module& owner, const char* name, int64_t out, int64_t in,
                       double scale = 1) -> LinearWeights {
    auto [weight, bias] =
        add_module(owner, name, initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator),
                   settings_.bias ? at::zeros({out}) : at::Tensor());
    return {.weight_ED = weight, .bias_E = bias};
  };
  for (int64_t i = 0; i < layers; ++i) {
    auto module = std::make_shared<torch::nn::Module>("layer");
    auto attention = std::make_shared<torch::nn::Module>("attention");
    auto mlp = std::make_shared<torch::nn::Module>("mlp");
    Layer layer;
    layer.input_norm = add_norm(*module, "input_layernorm", settings_);
    layer.query = add(*attention, "q_proj", query_width, width);
    layer.key = add(*attention, "k_proj", key_width, width);
    layer.value = add(*attention, "v_proj", key_width, width);
    layer.output = add(*attention, "o_proj", width, query_width, residual_scale);
    module->register_module("self_attn", attention);
    layer.post_norm = add_norm(*module, "post_attention_layernorm", settings_);
    if (settings_.mlp == "swiglu") layer.gate = add(*mlp, "gate_proj", hidden, width);
    layer.up = add(*mlp, "up_proj", hidden, width);
    layer.down = add(*mlp, "down_proj", width, hidden, residual_scale);
    module->register_module("mlp", mlp);
    list->register_module(std::to_string(i), module);
    layers_.push_back(std::move(layer));
  }
  register_module("layers", list);
}

std::vector<at::Tensor> TransformerStack::run_layer(const Layer& layer, const at::Tensor& stream_ND,
                                                    const at::Tensor& delta_ND, const nn::Sequences& sequences,
                                                    at::ScalarType type) const {
  at::Tensor residual_ND = stream_ND, normed_ND;
  if (delta_ND.defined()) {
    std::tie(residual_ND, normed_ND) = layer.input_norm.add(stream_ND, delta_ND, type);
  } else {
    normed_ND = layer.input_norm(stream_ND, type);
  }
  const at::Tensor qkv_NE = joined({&layer.query, &layer.key, &layer.value})(normed_ND);
  const at::Tensor attended_NE = nn::self_attention(
      qkv_NE, sequences,
      {.heads = settings_.heads, .key_value_heads = settings_.key_value_heads, .head_width = settings_.head_width},
      settings_.window, {.theta = settings_.rotary_theta});
  std::tie(residual_ND, normed_ND) = layer.post_norm.add(residual_ND, layer.output(attended_NE), type);
  const at::Tensor hidden_NF = settings_.mlp == "swiglu" ? nn::swiglu(joined({&layer.gate, &layer.up})(normed_ND))
                                                         : at::gelu(layer.up(normed_ND));
  return {residual_ND, layer.down(hidden_NF)};
}

Residual TransformerStack::forward(const at::Tensor& x_ND, const nn::Sequences& sequences,
                                   const ForwardOptions& options) {
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

void TransformerStack::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states,
                               size_t first_cache) {
  if (layers_.empty() || rows.stream.empty()) return;
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t width = settings_.width, hidden = settings_.hidden, head_width = settings_.head_width;
  const int64_t query_width = settings_.heads * head_width, key_width = settings_.key_value_heads * head_width;
  const int64_t half = head_width / 2;
  std::vector<float> normed(count * width), query(count * query_width), key(count * key_width),
      value(count * key_width), delta(count * width), gate_up(count * 2 * hidden), hidden_rows(count * hidden);
  std::vector<float> gate(count > 1 ? count * hidden : 0), up(count > 1 ? count * hidden : 0);
  std::vector<float> cosine(count * half), sine(count * half);
  {
    // All layers of the stack share the angles: a row's position is the number of rows its stream has read.
    std::vector<int64_t> position(states.size());
    for (size_t s = 0; s < states.size(); ++s) position[s] = states[s]->caches[first_cache].rows;
    for (int64_t r = 0; r < count; ++r) {
      nn::rotary_angles(position[rows.stream[r]]++, settings_.rotary_theta, head_width, &cosine[r * half],
                        &sine[r * half]);
    }
  }
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    layer.input_norm.rows(x_RD, normed.data(), count);
    layer.query.rows(normed.data(), query.data(), count);
    layer.key.rows(normed.data(), key.data(), count);
    layer.value.rows(normed.data(), value.data(), count);
    for (int64_t r = 0; r < count; ++r) {
      float* q = query.data() + r * query_width;
      float* k = key.data() + r * key_width;
      nn::rotate_heads(q, settings_.heads, head_width, &cosine[r * half], &sine[r * half]);
      nn::rotate_heads(k, settings_.key_value_heads, head_width, &cosine[r * half], &sine[r * half]);
      // The result takes the query's place.
      nn::attend_row(states[rows.stream[r]]->caches[first_cache + l], q, k, value.data() + r * key_width, q,
                     settings_.heads, settings_.key_value_heads, head_width, settings_.window);
    }
    layer.output.rows(query.data(), delta.data(), count);
    nn::add_rows(x_RD, delta.data(), count * width);
    layer.post_norm.rows(x_RD, normed.data(), count);
    if (settings_.mlp != "swiglu") {
      layer.up.rows(normed.data(), hidden_rows.data(), count);
      nn::gelu_rows(hidden_rows.data(), count * hidden);
    } else if (count == 1) {
      layer.gate.rows(normed.data(), gate_up.data(), 1);
      layer.up.rows(normed.data(), gate_up.data() + hidden, 1);
      nn::swiglu_rows(gate_up.data(), hidden_rows.data(), 1, hidden);
    } else {
      layer.gate.rows(normed.data(), gate.data(), count);
      layer.up.rows(normed.data(), up.data(), count);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(&gate[r * hidden], hidden, &gate_up[r * 2 * hidden]);
        std::copy_n(&up[r * hidden], hidden, &gate_up[r * 2 * hidden + hidden]);
      }
      nn::swiglu_rows(gate_up.data(), hidden_rows.data(), count, hidden);
    }
    layer.down.rows(hidden_rows.data(), delta.data(), count);
    nn::add_rows(x_RD, delta.data(), count * width);
  }
}

double TransformerStack::cost(const nn::Sequences& sequences) const {
  double weights = 0;
  for (const Layer& layer : layers_) {
    for (const LinearWeights* part :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
      if (part->weight_ED.defined()) weights += static_cast<double>(part->weight_ED.numel());
    }
  }
  double visible = 0;  // pairs of rows that see each other
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const auto length = static_cast<double>(sequences.length(s));
    const auto window = settings_.window > 0 ? std::min(static_cast<double>(settings_.window), length) : length;
    visible += window * (window + 1) / 2 + (length - window) * window;
  }
  const auto head_columns = static_cast<double>(settings_.heads * settings_.head_width);
  return weights * static_cast<double>(sequences.rows()) + 2 * visible * head_columns * static_cast<double>(layers());
}

Transformer::Transformer(const StackSettings& settings, at::Generator& generator)
    : settings_(settings), stack_(std::make_shared<TransformerStack>(settings, settings.layers, generator)) {
  // Registered so that names read model.layers.N and model.norm, as Llama's do.
  for (const auto& child : stack_->named_children()) register_module(child.key(), child.value());
  norm_ = add_norm(*this, "norm", settings);
}

at::Tensor Transformer::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  return stack_->forward(x_ND, rows.sequences, options).normed(norm_, type);
}

BackboneState Transformer::start() const {
  BackboneState state;
  state.caches.resize(static_cast<size_t>(settings_.layers));
  return state;
}

void Transformer::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  stack_->advance(x_RD, rows, states, 0);
  norm_.rows(x_RD, x_RD, static_cast<int64_t>(rows.stream.size()));
}

BackboneCost Transformer::cost(const Rows& rows) const {
  return {.multiplications = stack_->cost(rows.sequences), .innermost_rows = static_cast<double>(rows.count())};
}

}  // namespace verbatim
