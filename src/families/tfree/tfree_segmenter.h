#pragma once

#include <memory>

#include "model/positions.h"
#include "words/word_splitter.h"

namespace verbatim {

// Every word is a position; its ids are the bytes of the word, which encoder and decoder hash. Lossless in improved
// mode; in strict mode text that holds the reference's markers (<|ws|> and kin) comes back changed, and so does upper
// case with `lowercase`.
// A later part of a document is read as if a word without blank rules of its own stood before it: a blank at its start
// is implied, anything else is marked as following without one.
class TfreeSegmenter final : public Segmenter {
 public:
  TfreeSegmenter(SplitOptions options, std::string start_word, std::string end_word);

  [[nodiscard]] Positions segment(std::string_view text, DocumentPart part) const override;
  [[nodiscard]] std::string bytes_of(const std::vector<int32_t>& ids,
                                     const std::vector<int32_t>* previous) const override;
  [[nodiscard]] bool sets() const override { return true; }
  [[nodiscard]] std::vector<int32_t> start_ids() const override { return ids_of_word(start_word_); }
  [[nodiscard]] int32_t end_id() const override { return -1; }
  [[nodiscard]] bool lossless() const override { return splitter_.lossless(); }

  [[nodiscard]] const WordSplitter& splitter() const { return splitter_; }
  [[nodiscard]] const std::string& end_word() const { return end_word_; }

  // A position's ids are the bytes of its word.
  [[nodiscard]] static std::vector<int32_t> ids_of_word(std::string_view word);
  [[nodiscard]] static std::string word_of_ids(const int32_t* ids, size_t count);

 private:
  WordSplitter splitter_;
  std::string start_word_;
  std::string end_word_;
};

}  // namespace verbatim
