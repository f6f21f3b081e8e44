#include <algorithm>
#include <cmath>

#include "model/mixer.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/state_space.h"
#include "nn/rows_cpu.h"
#include "nn/state_space_rows.h"
#include "nn/torch.h"

// Legend: D width, I = expand D channels inside, S states, W width of the convolution, R rank of the step size
// (Mamba-1), H heads of P channels, G groups that share b and c, E = G S (Mamba-2).
namespace verbatim {

namespace {

// Bias of the step size: the inverse of softplus at sizes between 0.001 and 0.1, evenly spread on a log scale
// (Mamba-1 paper, section 3.6).
at::Tensor initial_step_bias(int64_t count, at::Generator& generator) {
  at::Tensor bias = initial_uniform({count}, std::log(1e-3), std::log(0.1), generator);
  if (ShapesOnly::active()) return bias;
  const at::Tensor step = bias.exp().clamp_min(1e-4);
  return step + at::log(-at::expm1(-step));
}

// `count` more floats at the end.
float* grow(std::vector<float>& values, int64_t count) {
  const size_t before = values.size();
  values.resize(before + static_cast<size_t>(count));
  return values.data() + before;
}

// The depthwise convolution, with its published shape [C, 1, W]. Initial values: uniform as of a layer with W inputs.
struct Convolution {
  at::Tensor weight_C1W, bias_C;

  Convolution() = default;
  Convolution(torch::nn::Module& owner, int64_t channels, int64_t kernel_width, at::Generator& generator) {
    const double bound = 1 / std::sqrt(static_cast<double>(kernel_width));
    const LinearWeights added =
        add_linear(owner, "conv1d", initial_uniform({channels, 1, kernel_width}, -bound, bound, generator),
                   initial_uniform({channels}, -bound, bound, generator));
    weight_C1W = added.weight_ED;
    bias_C = added.bias_E;
  }
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_NC, const nn::Sequences& sequences) const {
    return nn::causal_convolution(x_NC, weight_C1W.select(1, 0), bias_C, sequences);
  }
  void rows(float* x_RC, int64_t count, nn::ScanState& state) const {
    const int64_t channels = weight_C1W.size(0), width = weight_C1W.size(2);
    state.window.resize(static_cast<size_t>(channels * (width - 1)));
    float* trail = state.keeps_trail ? grow(state.window_trail, count * channels * (width - 1)) : nullptr;
    nn::causal_convolution_rows(x_RC, channels, weight_C1W.data_ptr<float>(), bias_C.data_ptr<float>(),
                                state.window.data(), x_RC, channels, count, channels, width, trail);
  }
};

// Where the states behind each of `rows` more rows go; null when no trail is kept.
float* state_trail(nn::ScanState& state, int64_t rows) {
  return state.keeps_trail ? grow(state.state_trail, rows * static_cast<int64_t>(state.state.size())) : nullptr;
}

// Calls f(first row, number of rows, memory) for every stretch of rows of one stream.
template <class F>
void by_stretches(const StreamRows& rows, std::span<BackboneState*> states, size_t layer, F&& f) {
  for (size_t first = 0; first < rows.stream.size();) {
    size_t end = first + 1;
    while (end < rows.stream.size() && rows.stream[end] == rows.stream[first]) ++end;
    f(static_cast<int64_t>(first), static_cast<int64_t>(end - first), states[rows.stream[first]]->layers[layer].scan);
    first = end;
  }
}

LinearWeights part_of(const at::Tensor& weight_ED, int64_t first, int64_t rows) {
  return {.weight_ED = weight_ED.narrow(0, first, rows), .bias_E = {}};
}

class Mamba1Mixer final : public Mixer {
 public:
  Mamba1Mixer(const StackSettings& settings, double residual_scale, at::Generator& generator)
      : channels_(settings.expand * settings.width), states_(settings.state), rank_(settings.step_rank) {
    const int64_t D = settings.width, I = channels_;
    const auto weight = [&](int64_t out, int64_t in, double scale = 1) {
      return initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator);
    };
    in_ = add_linear(*this, "in_proj", weight(2 * I, D));
    convolution_ = Convolution(*this, I, settings.convolution, generator);
    select_ = add_linear(*this, "x_proj", weight(rank_ + 2 * states_, I));
    const double bound = 1 / std::sqrt(static_cast<double>(rank_));
    step_ = add_linear(*this, "dt_proj", initial_uniform({I, rank_}, -bound, bound, generator),
                       initial_step_bias(I, generator));
    log_decay_IS_ = register_parameter(
        "A_log", at::arange(1, states_ + 1, at::kFloat).log().unsqueeze(0).expand({I, states_}).contiguous());
    skip_I_ = register_parameter("D", at::ones({I}));
    out_ = add_linear(*this, "out_proj", weight(D, I, residual_scale));
  }

  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const nn::Sequences& sequences) const override {
    const int64_t I = channels_;
    const at::Tensor u_NI = convolution_(part_of(in_.weight_ED, 0, I)(x_ND), sequences);
    const at::Tensor z_NI = part_of(in_.weight_ED, I, I)(x_ND);
    const std::vector<at::Tensor> selected = select_(u_NI).split_with_sizes({rank_, states_, states_}, 1);
    const at::Tensor y_NI = nn::selective_scan(u_NI, step_(selected[0].contiguous()), log_decay_IS_,
                                               selected[1].contiguous(), selected[2].contiguous(), skip_I_, sequences);
    return out_(nn::silu_gate(y_NI, z_NI));
  }

  void advance(const float* x_RD, float* delta_RD, const StreamRows& rows, std::span<BackboneState*> states,
               size_t layer) const override {
    const int64_t I = channels_, S = states_, F = rank_ + 2 * S, count = static_cast<int64_t>(rows.stream.size());
    std::vector<float> u(count * I), z(count * I), selected(count * F), step_rank(count * rank_), step(count * I),
        y(count * I);
    part_of(in_.weight_ED, 0, I).rows(x_RD, u.data(), count);
    part_of(in_.weight_ED, I, I).rows(x_RD, z.data(), count);
    by_stretches(rows, states, layer, [&](int64_t first, int64_t length, nn::ScanState& state) {
      convolution_.rows(&u[first * I], length, state);
    });
    select_.rows(u.data(), selected.data(), count);
    for (int64_t r = 0; r < count; ++r) std::copy_n(&selected[r * F], rank_, &step_rank[r * rank_]);
    step_.rows(step_rank.data(), step.data(), count);
    by_stretches(rows, states, layer, [&](int64_t first, int64_t length, nn::ScanState& state) {
      state.state.resize(static_cast<size_t>(I * S));
      nn::selective_scan_rows(&u[first * I], &step[first * I], log_decay_IS_.data_ptr<float>(),
                              &selected[first * F + rank_], F, &selected[first * F + rank_ + S], F,
                              skip_I_.data_ptr<float>(), state.state.data(), &y[first * I], length, I, S,
                              state_trail(state, length));
    });
    nn::silu_rows(z.data(), count * I);
    for (int64_t i = 0; i < count * I; ++i) y[i] *= z[i];
    out_.rows(y.data(), delta_RD, count);
  }

  [[nodiscard]] double cost(const nn::Sequences& sequences) const override {
    double weights = static_cast<double>(convolution_.weight_C1W.numel());
    for (const LinearWeights* part : {&in_, &select_, &step_, &out_})
      weights += static_cast<double>(part->weight_ED.numel());
    // Each state: decay, input, output.
    return (weights + 3.0 * static_cast<double>(channels_ * states_)) * static_cast<double>(sequences.rows());
  }
  [[nodiscard]] double floats_per_stream() const override {
    return static_cast<double>(channels_ * (states_ + convolution_.weight_C1W.size(2) - 1));
  }
  [[nodiscard]] double saved_per_row() const override {
    return static_cast<double>(7 * channels_ + rank_ + 2 * states_);
  }

 private:
  int64_t channels_, states_, rank_;
  LinearWeights in_, select_, step_, out_;
  Convolution convolution_;
  at::Tensor log_decay_IS_, skip_I_;
};

class Mamba2Mixer final : public Mixer {
 public:
  Mamba2Mixer(const StackSettings& settings, double residual_scale, at::Generator& generator)
      : channels_(settings.expand * settings.width),
        shape_({.heads = channels_ / settings.state_head_width,
                .head_width = settings.state_head_width,
                .groups = settings.state_groups,
                .state = settings.state}) {
    const int64_t D = settings.width, I = channels_, E = shape_.groups * shape_.state;
    const auto weight = [&](int64_t out, int64_t in, double scale = 1) {
      return initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator);
    };
    in_ = add_linear(*this, "in_proj", weight(2 * I + 2 * E + shape_.heads, D));
    convolution_ = Convolution(*this, I + 2 * E, settings.convolution, generator);
    step_bias_H_ = register_parameter("dt_bias", initial_step_bias(shape_.heads, generator));
    const at::Tensor decay_H = initial_uniform({shape_.heads}, 1, 16, generator);
    log_decay_H_ = register_parameter("A_log", ShapesOnly::active() ? decay_H : decay_H.log());
    skip_H_ = register_parameter("D", at::ones({shape_.heads}));
    gain_I_ = add_linear(*this, "norm", at::ones({I})).weight_ED;
    out_ = add_linear(*this, "out_proj", weight(D, I, residual_scale));
  }

  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const nn::Sequences& sequences) const override {
    const int64_t I = channels_, E = shape_.groups * shape_.state, H = shape_.heads;
    const at::Tensor z_NI = part_of(in_.weight_ED, 0, I)(x_ND);
    const at::Tensor mixed_NC = convolution_(part_of(in_.weight_ED, I, I + 2 * E)(x_ND), sequences);
    LinearWeights step = part_of(in_.weight_ED, 2 * I + 2 * E, H);
    step.bias_E = step_bias_H_;
    const std::vector<at::Tensor> parts = mixed_NC.split_with_sizes({I, E, E}, 1);
    const at::Tensor y_NI =
        nn::state_space(parts[0], step(x_ND), log_decay_H_, parts[1], parts[2], skip_H_, sequences, shape_);
    return out_(nn::gated_rms_norm(y_NI, z_NI, gain_I_, shape_.groups, kEpsilon));
  }

  void advance(const float* x_RD, float* delta_RD, const StreamRows& rows, std::span<BackboneState*> states,
               size_t layer) const override {
    const int64_t I = channels_, E = shape_.groups * shape_.state, H = shape_.heads, C = I + 2 * E;
    const auto count = static_cast<int64_t>(rows.stream.size());
    std::vector<float> z(count * I), mixed(count * C), step(count * H), y(count * I);
    part_of(in_.weight_ED, 0, I).rows(x_RD, z.data(), count);
    part_of(in_.weight_ED, I, C).rows(x_RD, mixed.data(), count);
    LinearWeights step_weights = part_of(in_.weight_ED, I + C, H);
    step_weights.bias_E = step_bias_H_;
    step_weights.rows(x_RD, step.data(), count);
    by_stretches(rows, states, layer, [&](int64_t first, int64_t length, nn::ScanState& state) {
      convolution_.rows(&mixed[first * C], length, state);
      state.state.resize(static_cast<size_t>(I * shape_.state));
      nn::state_space_rows(&mixed[first * C], C, &step[first * H], H, log_decay_H_.data_ptr<float>(),
                           &mixed[first * C + I], C, &mixed[first * C + I + E], C, skip_H_.data_ptr<float>(),
                           state.state.data(), &y[first * I], I, length, H, shape_.head_width, shape_.groups,
                           shape_.state, state_trail(state, length));
    });
    nn::gated_rms_norm_rows(y.data(), z.data(), I, gain_I_.data_ptr<float>(), y.data(), count, I, shape_.groups,
                            kEpsilon);
    out_.rows(y.data(), delta_RD, count);
  }

  [[nodiscard]] double cost(const nn::Sequences& sequences) const override {
    const double weights =
        static_cast<double>(in_.weight_ED.numel() + out_.weight_ED.numel() + convolution_.weight_C1W.numel());
    return (weights + 3.0 * static_cast<double>(channels_ * shape_.state)) * static_cast<double>(sequences.rows());
  }
  [[nodiscard]] double floats_per_stream() const override {
    return static_cast<double>(channels_ * shape_.state +
                               convolution_.weight_C1W.size(0) * (convolution_.weight_C1W.size(2) - 1));
  }
  [[nodiscard]] double saved_per_row() const override {
    return static_cast<double>(3 * channels_ + 2 * convolution_.weight_C1W.size(0) + shape_.heads);
  }

 private:
  static constexpr double kEpsilon = 1e-5;  // of the published norm inside the block

  int64_t channels_;
  nn::StateSpaceShape shape_;
  LinearWeights in_, out_;
  Convolution convolution_;
  at::Tensor step_bias_H_, log_decay_H_, skip_H_, gain_I_;
};

}  // namespace

std::shared_ptr<Mixer> make_mamba1(const StackSettings& settings, double residual_scale, at::Generator& generator) {
  return std::make_shared<Mamba1Mixer>(settings, residual_scale, generator);
}

std::shared_ptr<Mixer> make_mamba2(const StackSettings& settings, double residual_scale, at::Generator& generator) {
  return std::make_shared<Mamba2Mixer>(settings, residual_scale, generator);
}

}  // namespace verbatim
