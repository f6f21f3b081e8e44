#pragma once

#include "model/encoder.h"
#include "tokenizers/tokenizer.h"

namespace verbatim {

struct TokenEncoderSettings : Settings {
  std::string tokenizer = "tokenizer.json";  // file; relative paths start at the model folder or the data folder
  // Rows of the table; 0: one for each token. Public checkpoints pad their vocabularies; ids without a token are never
  // chosen.
  int64_t vocabulary = 0;
  // Read before a document and predicted behind it; -1: as the tokenizer says.
  int64_t begin_id = -1;
  int64_t end_id = -1;
  // Rows the model saw at once in training, for programs that allocate by it; 0: not known.
  int64_t trained_rows = 0;
  void visit(SettingsVisitor& visitor) override;
};

// Tokens of SentencePiece or tokenizer.json. Lossless for any byte string. The likelihood is that of one segmentation:
// a bound.
class TokenSegmenter final : public Segmenter {
 public:
  // `begin_id` and `end_id`: -1 for the tokenizer's own. Throws InputError when there is no document symbol at all.
  explicit TokenSegmenter(std::shared_ptr<const Tokenizer> tokenizer, int32_t begin_id = -1, int32_t end_id = -1);
  [[nodiscard]] Positions segment(std::string_view text, DocumentPart part) const override;
  [[nodiscard]] std::string bytes_of(const std::vector<int32_t>& ids,
                                     const std::vector<int32_t>* previous) const override;
  [[nodiscard]] std::vector<int32_t> start_ids() const override { return {start_}; }
  [[nodiscard]] int32_t end_id() const override { return end_; }
  [[nodiscard]] bool lossless() const override { return true; }
  [[nodiscard]] std::vector<std::string> vocabulary() const override;
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  int32_t start_;
  int32_t end_;
};

class TokenEncoder final : public TextEncoder {
 public:
  // The table has `rows` rows, at least as many as the tokenizer has tokens.
  TokenEncoder(TokenSegmenter segmenter, int64_t rows, int64_t width, at::Generator& generator);

  [[nodiscard]] const Segmenter& segmenter() const override { return segmenter_; }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] Encoded encode(const PositionBatch& batch, at::ScalarType compute_type) override;
  void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                   float* out_RD) override;
  [[nodiscard]] at::Tensor table() const override { return table_VD_; }

 private:
  TokenSegmenter segmenter_;
  int64_t width_;
  at::Tensor table_VD_;
};

}  // namespace verbatim
