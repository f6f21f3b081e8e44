#include "model/transformer.h"

#include <torch/torch.h>

#include <cmath>

#include "base/error.h"
#include "nn/checkpoint.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"

namespace verbatim {

at::Tensor initial_weight(int64_t out, int64_t in, double deviation, at::Generator& generator) {
  at::Tensor weight = at::empty({out, in}, at::kFloat);
  weight.normal_(0.0, deviation, generator);
  return weight.clamp_(-3 * deviation, 3 * deviation);
}

at::Tensor Residual::sum() const {
  return delta_ND.defined() ? stream_ND + delta_ND.to(stream_ND.scalar_type()) : stream_ND;
}

at::Tensor Residual::normed(const at::Tensor& gain_D, double epsilon, at::ScalarType type) const {
  if (!delta_ND.defined()) return nn::rms_norm(stream_ND, gain_D, epsilon, type);
  return nn::add_rms_norm(stream_ND, delta_ND, gain_D, epsilon, type).second;
}

TransformerStack::TransformerStack(StackSettings settings, int64_t layers, at::Generator& generator)
    : settings_(std::move(settings)) {
  const int64_t width = settings_.width, hidden = settings_.hidden;
  const int64_t query_width = settings_.heads * settings_.head_width;
  const int64_t key_width = settings_.key_value_heads * settings_.head_width;
  const double residual_scale = 1 / std::sqrt(2.0 * static_cast<double>(std::max<int64_t>(layers, 1)));
  auto list = std::make_shared<torch::nn::Module>("layers");
  const auto weight = [&](int64_t out, int64_t in, double scale = 1) {
    return initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator);
  };
  for (int64_t i = 0; i < layers; ++i) {
    auto module = std::make_shared<torch::nn::Module>("layer");
    auto attention = std::make_shared<torch::nn::Module>("attention");
    auto mlp = std::make_shared<torch::nn::Module>("mlp");
    const auto add = [](torch::nn::Module& owner, const char* name, at::Tensor value) {
      auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
      return holder->register_parameter("weight", std::move(value));
    };
    Layer layer;
    layer.input_norm = add(*module, "input_layernorm", at::ones({width}));
    layer.query = add(*attention, "q_proj", weight(query_width, width));
    layer.key = add(*attention, "k_proj", weight(key_width, width));
    layer.value = add(*attention, "v_proj", weight(key_width, width));
    layer.output = add(*attention, "o_proj", weight(width, query_width, residual_scale));
    module->register_module("self_attn", attention);
    layer.post_norm = add(*module, "post_attention_layernorm", at::ones({width}));
    layer.gate = add(*mlp, "gate_proj", weight(hidden, width));
    layer.up = add(*mlp, "up_proj", weight(hidden, width));
    layer.down = add(*mlp, "down_proj", weight(width, hidden, residual_scale));
    module->register_module("mlp", mlp);
    list->register_module(std::to_string(i), module);
    layers_.push_back(std::move(layer));
  }
  register_module("layers", list);
}

std::vector<at::Tensor> TransformerStack::run_layer(const Layer& layer, const at::Tensor& stream_ND,
                                                    const at::Tensor& delta_ND, const nn::Sequences& sequences,
                                                    at::ScalarType type) const {
  const double epsilon = settings_.norm_epsilon;
  at::Tensor residual_ND = stream_ND, normed_ND;
  if (delta_ND.defined()) {
    std::tie(residual_ND, normed_ND) = nn::add_rms_norm(stream_ND, delta_ND, layer.input_norm, epsilon, type);
  } else {
    normed_ND = nn::rms_norm(stream_ND, layer.input_norm, epsilon, type);
  }
  const at::Tensor qkv_NE = nn::linear(normed_ND, at::cat({layer.query, layer.key, layer.value}));
  const at::Tensor attended_NE = nn::self_attention(
      qkv_NE, sequences,
      {.heads = settings_.heads, .key_value_heads = settings_.key_value_heads, .head_width = settings_.head_width},
      settings_.window, {.theta = settings_.rotary_theta});
  const at::Tensor attention_delta_ND = nn::linear(attended_NE, layer.output);
  std::tie(residual_ND, normed_ND) = nn::add_rms_norm(residual_ND, attention_delta_ND, layer.post_norm, epsilon, type);
  const at::Tensor hidden_NF = nn::swiglu(nn::linear(normed_ND, at::cat({layer.gate, layer.up})));
  return {residual_ND, nn::linear(hidden_NF, layer.down)};
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
    nn::rms_norm_rows(x_RD, layer.input_norm.data_ptr<float>(), normed.data(), count, width, settings_.norm_epsilon);
    nn::multiply_rows(normed.data(), layer.query.data_ptr<float>(), query.data(), count, width, query_width);
    nn::multiply_rows(normed.data(), layer.key.data_ptr<float>(), key.data(), count, width, key_width);
    nn::multiply_rows(normed.data(), layer.value.data_ptr<float>(), value.data(), count, width, key_width);
    for (int64_t r = 0; r < count; ++r) {
      float* q = query.data() + r * query_width;
      float* k = key.data() + r * key_width;
      nn::rotate_heads(q, settings_.heads, head_width, &cosine[r * half], &sine[r * half]);
      nn::rotate_heads(k, settings_.key_value_heads, head_width, &cosine[r * half], &sine[r * half]);
      // The result takes the query's place.
      nn::attend_row(states[rows.stream[r]]->caches[first_cache + l], q, k, value.data() + r * key_width, q,
                     settings_.heads, settings_.key_value_heads, head_width, settings_.window);
    }
    nn::multiply_rows(query.data(), layer.output.data_ptr<float>(), delta.data(), count, query_width, width);
    nn::add_rows(x_RD, delta.data(), count * width);
    nn::rms_norm_rows(x_RD, layer.post_norm.data_ptr<float>(), normed.data(), count, width, settings_.norm_epsilon);
    if (count == 1) {
      nn::multiply_rows(normed.data(), layer.gate.data_ptr<float>(), gate_up.data(), 1, width, hidden);
      nn::multiply_rows(normed.data(), layer.up.data_ptr<float>(), gate_up.data() + hidden, 1, width, hidden);
    } else {
      nn::multiply_rows(normed.data(), layer.gate.data_ptr<float>(), gate.data(), count, width, hidden);
      nn::multiply_rows(normed.data(), layer.up.data_ptr<float>(), up.data(), count, width, hidden);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(&gate[r * hidden], hidden, &gate_up[r * 2 * hidden]);
        std::copy_n(&up[r * hidden], hidden, &gate_up[r * 2 * hidden + hidden]);
      }
    }
    nn::swiglu_rows(gate_up.data(), hidden_rows.data(), count, hidden);
    nn::multiply_rows(hidden_rows.data(), layer.down.data_ptr<float>(), delta.data(), count, hidden, width);
    nn::add_rows(x_RD, delta.data(), count * width);
  }
}

double TransformerStack::cost(const nn::Sequences& sequences) const {
  double weights = 0;
  for (const Layer& layer : layers_) {
    for (const at::Tensor* weight :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
      weights += static_cast<double>(weight->numel());
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
  auto norm = register_module("norm", std::make_shared<torch::nn::Module>("norm"));
  norm_ = norm->register_parameter("weight", at::ones({settings.width}));
}

at::Tensor Transformer::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  return stack_->forward(x_ND, rows.sequences, options).normed(norm_, settings_.norm_epsilon, type);
}

BackboneState Transformer::start() const {
  BackboneState state;
  state.caches.resize(static_cast<size_t>(settings_.layers));
  return state;
}

void Transformer::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  stack_->advance(x_RD, rows, states, 0);
  nn::rms_norm_rows(x_RD, norm_.data_ptr<float>(), x_RD, static_cast<int64_t>(rows.stream.size()), settings_.width,
                    settings_.norm_epsilon);
}

BackboneCost Transformer::cost(const Rows& rows) const {
  return {.multiplications = stack_->cost(rows.sequences), .innermost_rows = static_cast<double>(rows.count())};
}

}  // namespace verbatim
