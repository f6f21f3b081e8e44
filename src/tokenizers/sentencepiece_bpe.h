#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizers/bpe_merger.h"
#include "tokenizers/code_point_map.h"
#include "tokenizers/literal_matcher.h"
#include "tokenizers/sentencepiece_model.h"

namespace verbatim {

// SentencePiece's BPE for the models that most are: no normalisation, byte fallback, every character of a piece a piece
// itself. The ids are the library's (the tests compare them); it is several times as fast because pairs are looked up
// by id and not by text.
class SentencepieceBpe {
 public:
  // Null when the model is of another kind.
  [[nodiscard]] static std::unique_ptr<const SentencepieceBpe> make(const SentencepieceModel& model,
                                                                    const std::array<int32_t, 256>& byte_ids);

  // Puts the ids of `text` (valid UTF-8 without U+2581; spaces stand for themselves) into `ids`. False when the text
  // has a user-defined piece; the library must do it then.
  [[nodiscard]] bool encode(std::string_view text, BpeMerger::Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  SentencepieceBpe() = default;

  BpeMerger merger_;
  CodePointMap characters_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint32_t> sizes_;  // bytes each id stands for
  LiteralMatcher user_defined_;  // with spaces
};

}  // namespace verbatim
