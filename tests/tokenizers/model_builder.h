#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/sentencepiece_model.h"

namespace verbatim::testing_models {

// A SentencePiece model file made by hand, so that the tests need no file.
struct SentencepieceBuilder {
  struct Piece {
    std::string text;
    float score = 0;
    int type = 1;
  };
  std::vector<Piece> pieces;
  int algorithm = 2;  // BPE
  bool byte_fallback = true;
  bool dummy_prefix = true;
  bool remove_extra_spaces = false;
  bool escape_spaces = true;
  bool space_as_suffix = false;

  [[nodiscard]] std::string build() const;
};

// <unk>, <s>, </s>, all byte pieces, some English pieces, and two user-defined ones.
[[nodiscard]] SentencepieceBuilder small_model();

// The same vocabulary as a tokenizer.json in the style of Llama 2: U+2581 by the normalizer, byte fallback, and for
// every piece the merges of its halves, better scores first.
[[nodiscard]] nlohmann::json llama2_style_json(const SentencepieceModel& model);

// A byte-level tokenizer.json with these merges (spelled in the byte alphabet), ids as in the trainer: bytes, merges;
// then the control token <|endoftext|> and the added tokens.
[[nodiscard]] nlohmann::json byte_level_json(const std::vector<std::pair<std::string, std::string>>& merges);

// Every kind of text that has caused trouble somewhere.
[[nodiscard]] const std::vector<std::string>& awkward_texts();

}  // namespace verbatim::testing_models
