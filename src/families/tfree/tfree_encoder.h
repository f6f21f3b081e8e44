#pragma once

#include <memory>

#include "families/tfree/tfree_segmenter.h"
#include "families/tfree/tfree_settings.h"
#include "model/encoder.h"
#include "words/trigram_hasher.h"

namespace verbatim {

// A word's vector is the sum of the table's rows of all ids of all its trigrams (T-Free specification, sections 0 and
// 4). Rows without a word (no start word) are zero.
class TfreeEncoder final : public TextEncoder {
 public:
  TfreeEncoder(const TfreeEncoderSettings& settings, int64_t width, at::Generator& generator);

  [[nodiscard]] const Segmenter& segmenter() const override { return segmenter_; }
  [[nodiscard]] int64_t width() const override { return width_; }
  [[nodiscard]] Encoded encode(const PositionBatch& batch, at::ScalarType compute_type) override;
  void encode_rows(const PositionBatch& rows, std::span<const int64_t> stream, std::span<EncoderState*> states,
                   float* out_RD) override;
  // The hashed ids of all trigrams of the word, in order; one that several trigrams have comes as often.
  [[nodiscard]] std::vector<int32_t> table_ids(const std::vector<int32_t>& ids) const override;
  [[nodiscard]] at::Tensor table() const override { return table_VD_; }

  [[nodiscard]] const TfreeSegmenter& words() const { return segmenter_; }
  [[nodiscard]] std::shared_ptr<const TrigramHasher> hasher() const { return hasher_; }

 private:
  // Factor of a row whose ids are summed: the mean over a trigram's ids, the mean over trigrams, as the settings say.
  [[nodiscard]] float scale_of(size_t ids) const;

  TfreeSegmenter segmenter_;
  std::shared_ptr<const TrigramHasher> hasher_;
  bool mean_;
  bool normalize_;
  int64_t width_;
  at::Tensor table_VD_;
};

}  // namespace verbatim
