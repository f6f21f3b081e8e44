#include "families/tokun/tokun_encoder.h"

#include <ATen/ATen.h>

#include <cmath>

#include "families/tokun/batch_random.h"
#include "families/tokun/block_bytes.h"
#include "families/tokun/separation.h"

namespace verbatim {

TokunEncoder::TokunEncoder(const TokunEncoderSettings& settings, int64_t width, at::Generator& generator)
    : settings_(settings),
      segmenter_(settings.block_options()),
      width_(width == 0 ? settings.latent : width),
      network_(register_module("network", make_block_encoder(settings, generator))) {
  const int64_t latent = settings.latent;
  if (settings.frozen) {
    for (at::Tensor& parameter : network_->parameters()) parameter.requires_grad_(false);
  }
  if (settings.variational > 0 && settings.network == "gated") {
    // Starts at a deviation of e^-2: the vectors say what they say.
    deviation_ = add_linear(*this, "deviation", at::zeros({latent, latent}), at::full({latent}, -4.0));
  }
  if (width == 0) return;
  project_ = add_linear(*this, "project",
                        initial_weight(width_, latent, 1 / std::sqrt(static_cast<double>(latent)), generator));
}

Encoded TokunEncoder::encode(const PositionBatch& batch, at::ScalarType compute_type) {
  if (is_training() && !settings_.frozen) {
    network_->learn(natural_units(batch));
    at::Generator generator = generator_of(batch, DrawnFor::kHidden);
    network_->hide(settings_.hidden_characters, generator);
  }
  Encoded encoded{.vectors_ND = network_->forward(batch, compute_type), .rows = Rows::of(batch)};
  if (is_training()) {
    encoded = disturbed(std::move(encoded), batch);
    if (settings_.separation > 0 && !settings_.frozen && network_->known()->count() > 1) {
      const at::Tensor confusion = settings_.separation * this->confusion(batch, compute_type);
      encoded.loss = encoded.loss.defined() ? encoded.loss + confusion : confusion;
    }
  }
  if (project_.weight_ED.defined()) {
    const at::Tensor& z_NL = encoded.vectors_ND;
    encoded.vectors_ND =
        z_NL.scalar_type() == at::kDouble ? project_(z_NL) : project_(z_NL.to(compute_type)).to(at::kFloat);
  }
  return encoded;
}

at::Tensor TokunEncoder::confusion(const PositionBatch& batch, at::ScalarType type) const {
  constexpr int64_t kDrawn = 512;
  const at::TensorOptions integers = at::TensorOptions(at::kLong);
  at::Generator generator = generator_of(batch, DrawnFor::kSeparation);
  const int64_t places = settings_.block_options().chain.factors.back();
  const auto place = at::randint(places, {1}, generator, integers).item<int64_t>();
  const at::Tensor parts_KL = network_->known_parts(place, type);
  const at::Tensor row_S = at::randint(parts_KL.size(0), {kDrawn}, generator, integers).to(parts_KL.device());
  // One place stands for all.
  return static_cast<double>(places) * confusion_of_parts(parts_KL, row_S, places, settings_.noise / 2, type);
}

Encoded TokunEncoder::disturbed(Encoded encoded, const PositionBatch& batch) const {
  if (settings_.noise == 0 && !deviation_.weight_ED.defined()) return encoded;
  at::Tensor z_NL = encoded.vectors_ND;
  at::Generator generator = generator_of(batch, DrawnFor::kNoise);
  const at::TensorOptions floats = at::TensorOptions(at::kFloat);
  if (deviation_.weight_ED.defined()) {
    const at::Tensor log_variance_NL = deviation_(z_NL).clamp(-12, 4);
    const at::Tensor normal = at::randn(z_NL.sizes(), generator, floats).to(z_NL.device());
    // Distance of N(z, s^2) from N(0, 1), Kingma and Welling 2013 (arXiv 1312.6114), appendix B.
    encoded.loss =
        settings_.variational * 0.5 * (log_variance_NL.exp() + z_NL.square() - 1 - log_variance_NL).sum(1).mean();
    z_NL = z_NL + (0.5 * log_variance_NL).exp() * normal;
  }
  if (settings_.noise > 0) {
    // Half of it at every strength from none on; blocks that are no natural text have no room for any.
    at::Tensor strength_N1 = at::rand({z_NL.size(0), 1}, generator, floats);
    const at::Tensor is_noisy_N1 = at::rand({z_NL.size(0), 1}, generator, floats) < settings_.noisy_share;
    strength_N1 = strength_N1 * is_noisy_N1;
    if (batch.natural_rows >= 0) strength_N1.slice(0, batch.natural_rows).zero_();
    const at::Tensor noise = settings_.noise * strength_N1 * at::randn(z_NL.sizes(), generator, floats);
    z_NL = z_NL + noise.to(z_NL.device());
  }
  encoded.vectors_ND = z_NL;
  return encoded;
}

void TokunEncoder::encode_rows(const PositionBatch& rows, std::span<const int64_t> /*stream*/,
                               std::span<EncoderState*> /*states*/, float* out_RD) {
  const bool was_training = is_training();
  if (was_training) eval();
  const at::Tensor vectors_RD = encode(rows, at::kFloat).vectors_ND.contiguous();
  if (was_training) train();
  std::copy_n(vectors_RD.data_ptr<float>(), vectors_RD.numel(), out_RD);
}

double TokunEncoder::multiplications_per_row() const {
  return network_->multiplications() +
         (project_.weight_ED.defined() ? static_cast<double>(project_.weight_ED.numel()) : 0);
}

double TokunEncoder::learning_rate_factor(std::string_view parameter) const {
  // Which characters are known is a fact, not a weight.
  if (parameter.ends_with(".characters")) return 0;
  return settings_.frozen && parameter.starts_with("network.") ? 0 : 1;
}

}  // namespace verbatim
