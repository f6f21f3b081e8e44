#include "tokenizers/sentencepiece_bpe.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "text/utf8.h"
#include "tokenizers/piece_spelling.h"

namespace verbatim {
namespace {

using PieceType = SentencepieceModel::PieceType;

bool takes_part(const SentencepieceModel::Piece& piece) {
  return piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined;
}

}  // namespace

std::unique_ptr<const SentencepieceBpe> SentencepieceBpe::make(const SentencepieceModel& model,
                                                               const std::array<int32_t, 256>& byte_ids) {
  const bool all_bytes = std::none_of(byte_ids.begin(), byte_ids.end(), [](int32_t id) { return id < 0; });
  if (model.algorithm != SentencepieceModel::Algorithm::kBpe || model.has_normalization_table || !all_bytes ||
      !model.byte_fallback) {
    return nullptr;
  }
  std::unique_ptr<SentencepieceBpe> bpe(new SentencepieceBpe);
  bpe->byte_ids_ = byte_ids;
  bpe->sizes_.resize(model.pieces.size());
  std::unordered_map<std::string_view, int32_t> ids;
  std::vector<float> scores;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencepieceModel::Piece& piece = model.pieces[i];
    if (piece.type == PieceType::kUnused || std::isnan(piece.score) || !is_valid_utf8(piece.text)) return nullptr;
    bpe->sizes_[i] = static_cast<uint32_t>(spaces_for_marks(piece.text).size());
    if (!takes_part(piece)) {
      // A control or byte piece that spells one character would stand in the way of that character.
      if (count_utf8_units(piece.text) == 1) return nullptr;
      continue;
    }
    if (piece.type == PieceType::kUserDefined) {
      bpe->user_defined_.add(spaces_for_marks(piece.text), static_cast<int32_t>(i));
    }
    if (piece.text.find(' ') != std::string::npos) return nullptr;
    ids.emplace(piece.text, static_cast<int32_t>(i));
    scores.push_back(piece.score);
    if (count_utf8_units(piece.text) == 1) {
      const char32_t character = decode_utf8(piece.text, 0).value;
      bpe->characters_.set(character, static_cast<int32_t>(i));
      if (character == kSpaceMarkValue) bpe->characters_.set(U' ', static_cast<int32_t>(i));
    }
  }
  if (bpe->characters_.find(U' ') < 0) return nullptr;
  // Pieces of equal score have equal rank: then the leftmost pair goes first, as in the library.
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (const auto& [text, id] : ids) {
    const float score = model.pieces[static_cast<size_t>(id)].score;
    const auto rank = std::lower_bound(scores.begin(), scores.end(), score, std::greater<>()) - scores.begin();
    for (const Utf8Unit& unit : Utf8Units(text)) {
      if (bpe->characters_.find(unit.code_point.value) < 0) return nullptr;
      if (unit.position == 0) continue;
      const auto left = ids.find(text.substr(0, unit.position));
      const auto right = ids.find(text.substr(unit.position));
      if (left == ids.end() || right == ids.end()) continue;
      bpe->merger_.add(left->second, right->second, static_cast<uint32_t>(rank), id);
    }
  }
  return bpe;
}

bool SentencepieceBpe::encode(std::string_view text, BpeMerger::Scratch& scratch, std::vector<int32_t>& ids) const {
  if (user_defined_.find(text, 0).begin != std::string_view::npos) return false;
  const auto unknown = static_cast<int32_t>(sizes_.size());  // merges with nothing
  ids.clear();
  bool has_unknown = false;
  for (size_t position = 0; position < text.size();) {
    const CodePoint code_point = decode_utf8(text, position);
    const int32_t id = characters_.find(code_point.value);
    has_unknown = has_unknown || id < 0;
    ids.push_back(id < 0 ? unknown : id);
    position += code_point.size;
  }
  merger_.merge(ids, scratch);
  if (!has_unknown) return true;
  std::vector<int32_t> written;
  written.reserve(ids.size() + 16);
  size_t position = 0;
  for (const int32_t id : ids) {
    if (id != unknown) {
      written.push_back(id);
      position += sizes_[static_cast<size_t>(id)];
      continue;
    }
    const size_t end = position + decode_utf8(text, position).size;
    for (; position < end; ++position) written.push_back(byte_ids_[static_cast<uint8_t>(text[position])]);
  }
  ids = std::move(written);
  return true;
}

}  // namespace verbatim
