#include "families/tokun/tokun_decoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "families/tokun/block_bytes.h"
#include "nn/kernels/dense.h"

namespace verbatim {

namespace {
constexpr double kEpsilon = 1e-6;

}  // namespace

TokunDecoder::TokunDecoder(const TokunEncoderSettings& settings, int64_t width, at::Generator& generator)
    : settings_(settings), block_bytes_(settings.block_options().chain.block_bytes()) {
  if (width == 0) return;
  project_ = add_linear(*this, "project",
                        initial_weight(settings.latent, width, 1 / std::sqrt(static_cast<double>(width)), generator));
}

void TokunDecoder::keep_frozen() {
  if (!settings_.frozen) return;
  for (auto& parameter : named_parameters()) {
    if (!parameter.key().starts_with("project.")) parameter.value().requires_grad_(false);
  }
}

double TokunDecoder::learning_rate_factor(std::string_view parameter) const {
  return settings_.frozen && !parameter.starts_with("project.") ? 0 : 1;
}

double TokunDecoder::multiplications_per_row() const {
  return multiplications_per_block() +
         (project_.weight_ED.defined() ? static_cast<double>(project_.weight_ED.numel()) : 0);
}

at::Tensor TokunDecoder::vectors_of(const at::Tensor& h_ND) const {
  const at::ScalarType wide = h_ND.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (!project_.weight_ED.defined()) return h_ND.to(wide);
  at::Tensor z_NL = project_(h_ND).to(wide);
  // The published encoder's vectors have any length, ours have this one.
  if (settings_.network == "published") return z_NL;
  return z_NL * (z_NL.square().mean(1, /*keepdim=*/true) + kEpsilon).rsqrt();
}

at::Tensor TokunDecoder::vector_of_row(std::span<const float> h_D) const {
  return vectors_of(at::from_blob(const_cast<float*>(h_D.data()), {1, static_cast<int64_t>(h_D.size())},
                                  at::TensorOptions(at::kFloat)));
}

at::Tensor TokunDecoder::nats(const at::Tensor& h_ND, const PositionBatch& batch) {
  return nats_of_vectors(vectors_of(h_ND), h_ND.scalar_type(), batch);
}

at::Tensor TokunDecoder::reconstruct(const at::Tensor& h_ND, at::ScalarType type) {
  at::NoGradGuard no_grad;
  return blocks_of_vectors(vectors_of(h_ND), type);
}

WholeBlockDecoder::WholeBlockDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder,
                                     int64_t width, at::Generator& generator,
                                     const std::shared_ptr<BlockEncoderNetwork>& encoder)
    : TokunDecoder(settings, width, generator),
      network_(register_module("network", make_block_decoder(settings, decoder, generator, encoder))),
      known_(encoder == nullptr ? nullptr : encoder->known()) {
  keep_frozen();
}

at::Tensor WholeBlockDecoder::training_loss(const at::Tensor& h_ND, const PositionBatch& batch) {
  const at::Tensor nats_N = nats_of_vectors(vectors_of(h_ND), h_ND.scalar_type(), batch, /*both_ways=*/true);
  const at::Tensor beside_N = nats_beside(batch, h_ND.scalar_type());
  return beside_N.defined() ? nats_N + beside_N : nats_N;
}

at::Tensor WholeBlockDecoder::nats_beside(const PositionBatch& batch, at::ScalarType type) {
  if (network_->reach_beside() == 0) return {};
  at::Tensor bytes_NT = bytes_of_targets(batch, block_bytes_);
  // Made-up text has nothing to learn from.
  if (batch.natural_rows >= 0) bytes_NT = bytes_NT.slice(0, 0, batch.natural_rows);
  if (bytes_NT.size(0) == 0) return {};
  const at::Tensor row_M = known_->rows(bytes_NT.reshape({-1, 4})).to(network_->parameters().front().device());
  const at::Tensor logits_MK = network_->likely_beside(row_M.view({bytes_NT.size(0), -1}), type).flatten(0, 1);
  const at::Tensor nats_M =
      type == at::kDouble ? nn::cross_entropy_plain(logits_MK, row_M) : nn::cross_entropy(logits_MK, row_M);
  const at::Tensor nats_N = nats_M.view({bytes_NT.size(0), -1}).sum(1);
  return at::constant_pad_nd(nats_N, {0, batch.rows() - nats_N.size(0)});
}

at::Tensor WholeBlockDecoder::nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type, const PositionBatch& batch) {
  return nats_of_vectors(z_NL, type, batch, /*both_ways=*/false);
}

at::Tensor WholeBlockDecoder::nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type, const PositionBatch& batch,
                                              bool both_ways) {
  return nats_of_blocks(network_->forward(z_NL, type), bytes_of_targets(batch, block_bytes_).to(z_NL.device()),
                        both_ways);
}

at::Tensor WholeBlockDecoder::blocks_of_vectors(const at::Tensor& z_NL, at::ScalarType type) {
  // In stretches: the scores of a block take much more room than the block.
  constexpr int64_t kBlocks = 512;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < z_NL.size(0); begin += kBlocks) {
    const at::Tensor some = z_NL.slice(0, begin, std::min(begin + kBlocks, z_NL.size(0)));
    parts.push_back(network_->most_likely(some, type, block_bytes_));
  }
  return parts.empty() ? at::zeros({0, block_bytes_}, at::kByte) : at::cat(parts);
}

NextPosition WholeBlockDecoder::choose(std::span<const float> h_D, const DecoderState& /*state*/, Chooser& chooser) {
  at::NoGradGuard no_grad;
  const std::vector<uint8_t> bytes =
      choose_block(network_->forward(vector_of_row(h_D), at::kFloat), block_bytes_, chooser);
  WrittenBlock block = read_written_block(bytes.data(), block_bytes_);
  replaced_ += block.replaced;
  const bool ends = block.units.empty();
  return {.ids = std::move(block.units), .ends_document = ends};
}

}  // namespace verbatim
