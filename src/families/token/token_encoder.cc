#include "families/token/token_encoder.h"

#include <cmath>

#include "base/error.h"
#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/torch.h"

namespace verbatim {

void TokenEncoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "tokenizer", tokenizer,
      {.help = "tokenizer.json or SentencePiece .model; relative to the data or model folder, or the working folder"});
  visitor.setting(
      "vocabulary", vocabulary,
      {.help = "rows of the table, 0: one for each token of the tokenizer", .minimum = 0, .maximum = 1 << 24});
  visitor.setting("begin_id", begin_id,
                  {.help = "id read before a document, -1: as the tokenizer says", .minimum = -1, .maximum = 1 << 24});
  visitor.setting(
      "end_id", end_id,
      {.help = "id predicted behind a document, -1: as the tokenizer says", .minimum = -1, .maximum = 1 << 24});
  visitor.setting("trained_rows", trained_rows,
                  {.help = "rows seen at once in training, told to other programs by export; 0: not known",
                   .minimum = 0,
                   .maximum = 1 << 30});
}

TokenSegmenter::TokenSegmenter(std::shared_ptr<const Tokenizer> tokenizer, int32_t begin_id, int32_t end_id)
    : tokenizer_(std::move(tokenizer)),
      start_(begin_id >= 0 ? begin_id : tokenizer_->begin_id()),
      end_(end_id >= 0 ? end_id : tokenizer_->end_id()) {
  // A tokenizer with one document symbol uses it on both sides.
  if (start_ < 0) start_ = end_;
  if (end_ < 0) end_ = start_;
  if (end_ < 0) {
    throw_input(
        "{}: has neither a begin nor an end symbol; a language model needs one to end documents (add a special "
        "token such as <|endoftext|>)",
        tokenizer_->file_name());
  }
}

Positions TokenSegmenter::segment(std::string_view text, DocumentPart part) const {
  Tokens tokens =
      tokenizer_->encode(text, part == DocumentPart::kStart ? TextStart::kDocument : TextStart::kContinuation);
  return {.ends = std::move(tokens.ends), .ids = std::move(tokens.ids), .id_offsets = {}};
}

std::string TokenSegmenter::bytes_of(const std::vector<int32_t>& ids, const std::vector<int32_t>* previous) const {
  return tokenizer_->decode(ids, previous == nullptr ? TextStart::kDocument : TextStart::kContinuation);
}

std::vector<std::string> TokenSegmenter::vocabulary() const {
  std::vector<std::string> entries;
  for (int32_t id = 0; id < tokenizer_->vocabulary_size(); ++id) {
    const TokenBytes& token = tokenizer_->token_bytes(id);
    // Bytes and control symbols repeat no text: they get names that nothing else has.
    const bool is_text = token.kind == TokenKind::kNormal || token.kind == TokenKind::kUserDefined;
    entries.push_back(is_text ? token.bytes : fmt::format("<id {}>", id));
  }
  return entries;
}

TokenEncoder::TokenEncoder(TokenSegmenter segmenter, int64_t rows, int64_t width, at::Generator& generator)
    : segmenter_(std::move(segmenter)), width_(width) {
  auto table = register_module("table", std::make_shared<torch::nn::Module>("table"));
  table_VD_ = table->register_parameter(
      "weight", initial_weight(rows, width, 1 / std::sqrt(static_cast<double>(width)), generator));
}

Encoded TokenEncoder::encode(const PositionBatch& batch, at::ScalarType /*compute_type*/) {
  const at::Tensor index_N = at::from_blob(const_cast<int32_t*>(batch.ids.data()), {batch.rows()}, at::kInt)
                                 .to(at::kLong)
                                 .to(table_VD_.device());
  return {.vectors_ND = nn::gather_rows(table_VD_, index_N), .rows = Rows::of(batch)};
}

void TokenEncoder::encode_rows(const PositionBatch& rows, std::span<const int64_t> stream,
                               std::span<EncoderState*> /*states*/, float* out_RD) {
  const float* table = table_VD_.data_ptr<float>();
  for (size_t r = 0; r < stream.size(); ++r) {
    std::copy_n(table + rows.ids[r] * width_, width_, out_RD + static_cast<int64_t>(r) * width_);
  }
}

}  // namespace verbatim
