#pragma once

#include "model/decoder.h"
#include "settings/visitor.h"

namespace verbatim {

struct SoftmaxSettings : Settings {
  bool tied = false;  // share the encoder's table
  bool bias = false;  // each symbol has one
  void visit(SettingsVisitor& visitor) override;
};

// Softmax over a fixed list of symbols: bytes, or tokens. The end of the document is one of them.
class SoftmaxDecoder final : public TextDecoder {
 public:
  struct Options {
    int64_t symbols = 257;
    int64_t end_id = 256;        // -1: none
    std::vector<int32_t> never;  // symbols that are never chosen: control ids and start symbols
    Likelihood likelihood = Likelihood::kExact;
    bool bias = false;
  };
  // `table` [V, D] is shared when defined (a tied decoder), else own weights are drawn.
  SoftmaxDecoder(Options options, int64_t width, const at::Tensor& table, at::Generator& generator);

  [[nodiscard]] Likelihood likelihood() const override { return options_.likelihood; }
  [[nodiscard]] at::Tensor nats(const at::Tensor& h_ND, const PositionBatch& batch) override;
  [[nodiscard]] NextPosition choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) override;
  [[nodiscard]] std::vector<float> scores(std::span<const float> h_D) override;
  [[nodiscard]] double multiplications_per_row() const override { return static_cast<double>(weight_VD_.numel()); }
  // [N, V]
  [[nodiscard]] at::Tensor logits(const at::Tensor& h_ND) const;

 private:
  Options options_;
  at::Tensor weight_VD_;
  at::Tensor bias_V_;  // undefined: none
};

}  // namespace verbatim
