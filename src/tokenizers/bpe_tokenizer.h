#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/tokenizer.h"

namespace verbatim {

// A tokenizer.json with a BPE model: byte-level (GPT-2, Llama-3, Qwen, ...) or SentencePiece-like (spaces as U+2581,
// byte fallback).
//
// encode() differs from the original library exactly where that one loses text or lets text inject control ids:
// - special added tokens are not recognised (encode_with_special() does);
// - normal forms (NFC, ...) are not applied: text that is in the form already gets the same ids, other text survives;
// - white space beside an added token stays text (the library drops it when lstrip or rstrip is set), and matches of a
//   Split stage of behavior "Removed" stay words;
// - ByteLevel's add_prefix_space is not applied (the library never takes that space off again); the U+2581 in front of
//   SentencePiece-like text is put there once, at the start of the document, and taken off by decode();
// - U+2581 in the text of a SentencePiece-like vocabulary, and invalid UTF-8, become byte pieces.
// encode_like_original() does all these things as the library does them.
//
// The begin symbol is the one of the file's template, else a special token with one of the usual names; a vocabulary
// that has only "<|endoftext|>" uses it for both begin and end, as GPT-2 does.
class BpeTokenizer final : public Tokenizer {
 public:
  // Throws InputError that begins with `where` (a path) for malformed files and unsupported components.
  BpeTokenizer(std::string json, std::string_view where);
  ~BpeTokenizer() override;

  [[nodiscard]] std::vector<int32_t> encode_like_original(std::string_view text) const override;
  [[nodiscard]] std::string decode(const std::vector<int32_t>& ids,
                                   TextStart start = TextStart::kDocument) const override;
  [[nodiscard]] std::string decode_like_original(const std::vector<int32_t>& ids) const override;
  [[nodiscard]] std::string file_name() const override { return "tokenizer.json"; }

 private:
  struct Impl;
  [[nodiscard]] const TokenTable& table() const override;
  [[nodiscard]] Tokens encode_text(std::string_view text, TextStart start, bool with_special) const override;

  std::unique_ptr<Impl> impl_;
};

}  // namespace verbatim
