#include "model/softmax_decoder.h"

#include <cmath>
#include <limits>

#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

void SoftmaxSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("tied", tied, {.help = "share the encoder's table instead of weights of its own"});
  visitor.setting("bias", bias, {.help = "add a learned amount to the score of each symbol"});
}

SoftmaxDecoder::SoftmaxDecoder(Options options, int64_t width, const at::Tensor& table, at::Generator& generator)
    : options_(std::move(options)), weight_VD_(table) {
  if (options_.bias) bias_V_ = register_parameter("bias", at::zeros({options_.symbols}));
  if (weight_VD_.defined()) return;
  auto head = register_module("head", std::make_shared<torch::nn::Module>("head"));
  weight_VD_ = head->register_parameter(
      "weight", initial_weight(options_.symbols, width, 1 / std::sqrt(static_cast<double>(width)), generator));
}

at::Tensor SoftmaxDecoder::logits(const at::Tensor& h_ND) const { return nn::linear(h_ND, weight_VD_, bias_V_); }

at::Tensor SoftmaxDecoder::nats(const at::Tensor& h_ND, const PositionBatch& batch) {
  const at::Tensor targets_N =
      at::from_blob(const_cast<int64_t*>(batch.targets.data()), {batch.rows()}, at::kLong).clone().to(h_ND.device());
  return nn::cross_entropy(logits(h_ND), targets_N);
}

std::vector<float> SoftmaxDecoder::scores(std::span<const float> h_D) {
  std::vector<float> scores(static_cast<size_t>(options_.symbols));
  nn::multiply_rows(h_D.data(), weight_VD_.data_ptr<float>(), scores.data(), 1, static_cast<int64_t>(h_D.size()),
                    options_.symbols);
  if (bias_V_.defined()) nn::add_rows(scores.data(), bias_V_.data_ptr<float>(), options_.symbols);
  return scores;
}

NextPosition SoftmaxDecoder::choose(std::span<const float> h_D, const DecoderState& /*state*/, Chooser& chooser) {
  std::vector<float> candidates = scores(h_D);
  for (const int32_t id : options_.never) candidates[id] = -std::numeric_limits<float>::infinity();
  const int64_t id = chooser.choose(candidates);
  if (id == options_.end_id) return {.ids = {}, .ends_document = true};
  return {.ids = {static_cast<int32_t>(id)}, .ends_document = false};
}

}  // namespace verbatim
