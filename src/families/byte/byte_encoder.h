#pragma once

#include "model/encoder.h"

namespace verbatim {

struct ByteEncoderSettings : Settings {
  // Hashed n-grams added to each byte's vector (BLT, arXiv 2412.09871, section 3.2.1).
  std::vector<int64_t> ngram_sizes;
  int64_t ngram_rows = 16384;  // rows of each n-gram table
  // Models from elsewhere use bytes that no UTF-8 text contains; -1: documents have no end.
  int64_t start_id = 256;  // read before a document's first byte
  int64_t end_id = 256;    // predicted behind its last one
  int64_t symbols = 0;     // rows of the table; 0: as many as the ids above need
  [[nodiscard]] int64_t table_rows() const;
  void visit(SettingsVisitor& visitor) override;
};

// Every byte is a position. Lossless for any byte string.
class ByteSegmenter final : public Segmenter {
 public:
  explicit ByteSegmenter(const ByteEncoderSettings& settings)
      : start_id_(static_cast<int32_t>(settings.start_id)), end_id_(static_cast<int32_t>(settings.end_id)) {}
  [[nodiscard]] Positions segment(std::string_view text, DocumentPart part) const override;
  [[nodiscard]] std::string bytes_of(const std::vector<int32_t>& ids,
                                     const std::vector<int32_t>* previous) const override;
  [[nodiscard]] std::vector<int32_t> start_ids() const override { return {start_id_}; }
  [[nodiscard]] int32_t end_id() const override { return end_id_; }
  [[nodiscard]] bool lossless() const override { return true; }

 private:
  int32_t start_id_, end_id_;
};

// A table of 256 bytes and the document boundary, plus tables of hashed n-grams.
class ByteEncoder final : public TextEncoder {
 public:
  ByteEncoder(ByteEncoderSettings settings, int64_t width, at::Generator& generator);

  [[nodiscard]] const Segmenter& segmenter() const override { return segmenter_; }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] Encoded encode(const PositionBatch& batch, at::ScalarType compute_type) override;
  void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                   float* out_RD) override;
  [[nodiscard]] at::Tensor table() const override { return table_VD_; }

 private:
  // Row of table k for the symbols that end with `newest` (index size - 1).
  [[nodiscard]] int64_t ngram_row(size_t k, const uint16_t* newest, size_t available) const;

  ByteSegmenter segmenter_;
  ByteEncoderSettings settings_;
  int64_t width_;
  at::Tensor table_VD_;
  at::Tensor ngrams_RD_;  // all n-gram tables, one below the other
};

}  // namespace verbatim
