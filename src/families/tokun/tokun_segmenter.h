#pragma once

#include "blocks/blocks.h"
#include "model/positions.h"

namespace verbatim {

// Every block of characters is a position; its ids are the code points, or numbers above U+10FFFF for bytes that belong
// to no character (blocks/utf32.h). Lossless for any byte string. A text that is read in two parts may be cut into
// other blocks than the whole.
class TokunSegmenter final : public Segmenter {
 public:
  explicit TokunSegmenter(BlockOptions options) : coder_(std::move(options)) {}

  [[nodiscard]] Positions segment(std::string_view text, DocumentPart part) const override;
  [[nodiscard]] std::string bytes_of(const std::vector<int32_t>& ids,
                                     const std::vector<int32_t>* previous) const override;
  [[nodiscard]] bool sets() const override { return true; }
  [[nodiscard]] std::vector<int32_t> start_ids() const override { return {kStartUnit}; }
  [[nodiscard]] int32_t end_id() const override { return -1; }
  [[nodiscard]] bool lossless() const override { return true; }

  [[nodiscard]] const BlockCoder& coder() const { return coder_; }

  // Stands for the start of a document: a number that no text becomes.
  static constexpr int32_t kStartUnit = static_cast<int32_t>(kEscape) + 1;

 private:
  void cut_evenly(std::string_view text, Positions& positions) const;

  BlockCoder coder_;
};

}  // namespace verbatim
