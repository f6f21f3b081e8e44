#include <cmath>

#include "model/mixer.h"
#include "nn/kernels/attention.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

// Causal self-attention with rotary positions and grouped heads; Llama's names of parameters.
class AttentionMixer final : public Mixer {
 public:
  AttentionMixer(const StackSettings& settings, double residual_scale, at::Generator& generator)
      : settings_(settings), rotary_({.theta = settings.rotary_theta, .width = settings.rotary_width}) {
    const int64_t width = settings.width;
    const auto add = [&](const char* name, int64_t out, int64_t in, double scale) {
      return add_linear(*this, name, initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator),
                        settings.bias ? at::zeros({out}) : at::Tensor());
    };
    query_ = add("q_proj", query_width(), width, 1);
    key_ = add("k_proj", key_width(), width, 1);
    value_ = add("v_proj", key_width(), width, 1);
    output_ = add("o_proj", width, query_width(), residual_scale);
    for (int64_t i = 0; i < settings.head_width / 2; ++i)
      frequencies_.push_back(rotary_.theta == 0 ? 0 : rotary_.frequency(i, settings.head_width));
    if (!settings.query_key_norm) return;
    const NormKind norm = norm_kind(settings.norm);
    query_norm_ = add_norm(*this, "q_norm", settings.head_width, norm, settings.norm_epsilon);
    key_norm_ = add_norm(*this, "k_norm", settings.head_width, norm, settings.norm_epsilon);
  }

  [[nodiscard]] at::Tensor forward(const at::Tensor& x_ND, const nn::Sequences& sequences) const override {
    at::Tensor qkv_NE = joined({&query_, &key_, &value_})(x_ND);
    if (settings_.query_key_norm) qkv_NE = normed_heads(qkv_NE);
    return output_(nn::self_attention(
        qkv_NE, sequences,
        {.heads = settings_.heads, .key_value_heads = settings_.key_value_heads, .head_width = settings_.head_width},
        settings_.window, rotary_));
  }

  void advance(const float* x_RD, float* delta_RD, const StreamRows& rows, std::span<BackboneState*> states,
               size_t layer) const override {
    const auto count = static_cast<int64_t>(rows.stream.size());
    const int64_t head_width = settings_.head_width;
    std::vector<float> query(count * query_width()), key(count * key_width()), value(count * key_width());
    std::vector<float> cosine(frequencies_.size()), sine(frequencies_.size());
    query_.rows(x_RD, query.data(), count);
    key_.rows(x_RD, key.data(), count);
    value_.rows(x_RD, value.data(), count);
    if (settings_.query_key_norm) {
      query_norm_.rows(query.data(), query.data(), count * settings_.heads);
      key_norm_.rows(key.data(), key.data(), count * settings_.key_value_heads);
    }
    for (int64_t first = 0, end = 0; first < count; first = end) {
      while (end < count && rows.stream[end] == rows.stream[first]) ++end;
      nn::AttentionCache& cache = states[rows.stream[first]]->layers[layer].attention;
      float* q = query.data() + first * query_width();
      float* k = key.data() + first * key_width();
      for (int64_t r = 0; rotary_.theta != 0 && r < end - first; ++r) {
        nn::rotary_angles(cache.rows + r, frequencies_, cosine.data(), sine.data());
        nn::rotate_heads(q + r * query_width(), settings_.heads, head_width, cosine.data(), sine.data());
        nn::rotate_heads(k + r * key_width(), settings_.key_value_heads, head_width, cosine.data(), sine.data());
      }
      nn::attend_stretch(cache, q, k, value.data() + first * key_width(), end - first, settings_.heads,
                         settings_.key_value_heads, head_width, settings_.window);
    }
    output_.rows(query.data(), delta_RD, count);
  }

  [[nodiscard]] double cost(const nn::Sequences& sequences) const override {
    double weights = 0;
    for (const LinearWeights* part : {&query_, &key_, &value_, &output_})
      weights += static_cast<double>(part->weight_ED.numel());
    double visible = 0;  // pairs of rows that see each other
    for (int64_t s = 0; s < sequences.count(); ++s) {
      const auto length = static_cast<double>(sequences.length(s));
      const auto window = settings_.window > 0 ? std::min(static_cast<double>(settings_.window), length) : length;
      visible += window * (window + 1) / 2 + (length - window) * window;
    }
    return weights * static_cast<double>(sequences.rows()) + 2 * visible * static_cast<double>(query_width());
  }

  [[nodiscard]] double floats_per_row() const override {
    return settings_.window > 0 ? 0 : 2 * static_cast<double>(key_width());
  }
  [[nodiscard]] double floats_per_stream() const override {
    return 2 * static_cast<double>(key_width() * settings_.window);
  }
  [[nodiscard]] double saved_per_row() const override {
    return static_cast<double>(settings_.width + 2 * query_width() + 2 * key_width());
  }

 private:
  [[nodiscard]] int64_t query_width() const { return settings_.heads * settings_.head_width; }
  [[nodiscard]] int64_t key_width() const { return settings_.key_value_heads * settings_.head_width; }

  // Each query and key head by itself.
  [[nodiscard]] at::Tensor normed_heads(const at::Tensor& qkv_NE) const {
    const int64_t rows = qkv_NE.size(0), d = settings_.head_width;
    const at::ScalarType type = qkv_NE.scalar_type(), wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const auto normed = [&](const Norm& norm, int64_t begin, int64_t width) {
      return norm(qkv_NE.narrow(1, begin, width).to(wide).reshape({rows * (width / d), d}), type)
          .reshape({rows, width});
    };
    return at::cat({normed(query_norm_, 0, query_width()), normed(key_norm_, query_width(), key_width()),
                    qkv_NE.narrow(1, query_width() + key_width(), key_width())},
                   1);
  }

  StackSettings settings_;
  nn::RotaryOptions rotary_;
  std::vector<double> frequencies_;  // [d/2]
  LinearWeights query_, key_, value_, output_;
  Norm query_norm_, key_norm_;  // [d], with query_key_norm
};

}  // namespace

std::shared_ptr<Mixer> make_attention(const StackSettings& settings, double residual_scale, at::Generator& generator) {
  return std::make_shared<AttentionMixer>(settings, residual_scale, generator);
}

}  // namespace verbatim
