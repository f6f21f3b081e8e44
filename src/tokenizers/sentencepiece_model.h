#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// What we need to know of a SentencePiece model file beyond what the library tells: read from its protocol-buffer form.
struct SentencepieceModel {
  enum class PieceType : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  enum class Algorithm : uint8_t { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };

  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Piece> pieces;
  Algorithm algorithm = Algorithm::kUnigram;
  bool space_as_suffix = false;
  bool byte_fallback = false;
  bool has_normalization_table = false;
  bool adds_dummy_prefix = true;
  bool removes_extra_spaces = true;
  bool escapes_spaces = true;

  // Throws InputError that begins with `where` when the file is cut short, has lengths that do not fit, or is something
  // else.
  [[nodiscard]] static SentencepieceModel parse(std::string_view bytes, std::string_view where);
};

// The file with the settings changed that add or remove spaces, so that text is encoded exactly as it stands. In a
// protocol buffer a later message of the same field is merged into the earlier one.
[[nodiscard]] std::string without_space_changes(std::string_view model_bytes);

}  // namespace verbatim
