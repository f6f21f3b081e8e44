#pragma once

#include "model/encoder.h"
#include "tokenizers/tokenizer.h"

namespace verbatim {

struct TokenEncoderSettings : Settings {
  std::string tokenizer = "tokenizer.json";  // file; relative paths start at the model folder or the data folder
  void visit(SettingsVisitor& visitor) override;
};

// Tokens of SentencePiece or tokenizer.json. Lossless for any byte string. The likelihood is that of one segmentation: a bound.
class TokenSegmenter final : public Segmenter {
 public:
  explicit TokenSegmenter(std::shared_ptr<const Tokenizer> tokenizer);
  [[nodiscard]] Positions segment(std::string_view text, DocumentPart part) const override;
  [[nodiscard]] std::string bytes_of(const std::vector<int32_t>& ids) const override;
  [[nodiscard]] std::string bytes_of_first(const std::vector<int32_t>& ids) const override;
  [[nodiscard]] int32_t start_id() const override { return start_; }
  [[nodiscard]] int32_t end_id() const override { return end_; }
  [[nodiscard]] bool lossless() const override { return true; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  int32_t start_;
  int32_t end_;
};

class TokenEncoder final : public TextEncoder {
 public:
  TokenEncoder(std::shared_ptr<const Tokenizer> tokenizer, int64_t width, at::Generator& generator);

  [[nodiscard]] const Segmenter& segmenter() const override { return segmenter_; }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] Encoded encode(const PositionBatch& batch) override;
  void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                   float* out_RD) override;
  [[nodiscard]] at::Tensor table() const override { return table_VD_; }

 private:
  TokenSegmenter segmenter_;
  int64_t width_;
  at::Tensor table_VD_;
};

}  // namespace verbatim
