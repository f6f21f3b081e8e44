#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/tokenizer.h"

namespace verbatim {

// A SentencePiece model (any algorithm) through the original library.
//
// encode() gives the library's ids for text that the library itself gives back unchanged; what it would lose (U+2581 in
// the text, invalid UTF-8, characters that its normalisation changes, runs of spaces where the model removes them) is
// written with byte pieces. A model without all 256 byte pieces is not lossless: encode() then works for text it can
// write and throws InputError, with the place, for other text.
//
// The library's dummy space in front of a document belongs to the first token and has no bytes in the text; decode()
// takes it off again. A continuation has none.
class SentencepieceTokenizer final : public Tokenizer {
 public:
  // Throws InputError that begins with `where` (a path) for files that are not models.
  SentencepieceTokenizer(std::string model, std::string_view where);
  ~SentencepieceTokenizer() override;

  [[nodiscard]] std::vector<int32_t> encode_like_original(std::string_view text) const override;
  [[nodiscard]] std::string decode(const std::vector<int32_t>& ids,
                                   TextStart start = TextStart::kDocument) const override;
  [[nodiscard]] std::string decode_like_original(const std::vector<int32_t>& ids) const override;
  [[nodiscard]] std::string file_name() const override { return "tokenizer.model"; }

 private:
  struct Impl;
  [[nodiscard]] const TokenTable& table() const override;
  [[nodiscard]] Tokens encode_text(std::string_view text, TextStart start, bool with_special) const override;

  std::unique_ptr<Impl> impl_;
};

}  // namespace verbatim
