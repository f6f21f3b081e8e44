#include "tokenizers/sentencepiece_tokenizer.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"
#include "tokenizers/literal_matcher.h"
#include "tokenizers/piece_spelling.h"
#include "tokenizers/scratch_pool.h"
#include "tokenizers/sentencepiece_bpe.h"
#include "tokenizers/sentencepiece_library.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/word_cache.h"

namespace verbatim {
namespace {

using PieceType = SentencepieceModel::PieceType;

// Whether a space mark or a space follows other text inside the piece.
bool has_inner_space(std::string_view piece) {
  bool text_before = false;
  for (size_t i = 0; i < piece.size();) {
    const bool is_mark = piece.substr(i).starts_with(kSpaceMark);
    if (is_mark || piece[i] == ' ') {
      if (text_before) return true;
    } else {
      text_before = true;
    }
    i += is_mark ? kSpaceMark.size() : 1;
  }
  return false;
}

}  // namespace

struct SentencepieceTokenizer::Impl : TokenTable {
  struct Scratch {
    WordCache cache;
    BpeMerger::Scratch merge;
    std::vector<int> ids;
    std::string prefixed;
  };
  SentencepieceModel model;
  std::unique_ptr<SentencepieceLibrary> original = SentencepieceLibrary::make();
  std::unique_ptr<SentencepieceLibrary> exact = SentencepieceLibrary::make();  // adds and removes no spaces
  std::unique_ptr<const SentencepieceBpe> fast;                                // null: the library encodes
  // No piece reaches from text into a following space, so the words of a text can be encoded one by one.
  bool words_are_independent = false;
  LiteralMatcher controls;
  mutable ScratchPool<Scratch> scratches;

  Impl(std::string bytes, std::string_view path);

  void load(SentencepieceLibrary& library, std::string_view bytes) const;
  void fill_tokens();
  [[nodiscard]] Tokens encode(std::string_view text, TextStart start, bool with_special) const;
  void encode_section(std::string_view section, size_t offset, bool& prefix, Scratch& scratch,
                      std::vector<int32_t>& ids) const;
  void encode_valid(std::string_view text, size_t offset, bool& prefix, Scratch& scratch,
                    std::vector<int32_t>& ids) const;
  void encode_separately(std::string_view text, size_t offset, bool prefix, Scratch& scratch,
                         std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, size_t offset, bool prefix, Scratch& scratch,
                   std::vector<int32_t>& ids) const;
  void push_bytes(std::string_view bytes, size_t offset, std::vector<int32_t>& ids) const;
  [[nodiscard]] bool stands_for(std::span<const int32_t> ids, std::string_view text, bool prefix) const;
  // The space of the dummy prefix can only be the first one of a piece of text.
  [[nodiscard]] bool can_begin_with_prefix(int32_t id) const {
    const TokenBytes& first = tokens[static_cast<size_t>(id)];
    return (first.kind == TokenKind::kNormal || first.kind == TokenKind::kUserDefined) && first.bytes.starts_with(' ');
  }
};

SentencepieceTokenizer::Impl::Impl(std::string bytes, std::string_view path)
    : TokenTable{.where = std::string(path), .file = std::move(bytes)}, model(SentencepieceModel::parse(file, path)) {
  if (model.space_as_suffix) {
    throw_input("{}: the model puts spaces behind words (treat_whitespace_as_suffix), which is not supported", where);
  }
  if (!model.escapes_spaces) {
    throw_input("{}: the model keeps spaces as they are (escape_whitespaces off), which is not supported", where);
  }
  fill_tokens();
  fast = SentencepieceBpe::make(model, byte_ids);
  load(*original, file);
  load(*exact, without_space_changes(file));
  if (original->piece_count() != static_cast<int>(tokens.size())) {
    throw_input("{}: the library reads {} pieces, the file has {}", where, original->piece_count(), tokens.size());
  }
  begin = original->begin_id();
  end = original->end_id();
}

void SentencepieceTokenizer::Impl::load(SentencepieceLibrary& library, std::string_view bytes) const {
  const std::string error = library.load(bytes);
  if (!error.empty()) throw_input("{}: the SentencePiece library refuses the model: {}", where, error);
}

void SentencepieceTokenizer::Impl::fill_tokens() {
  byte_ids.fill(-1);
  tokens.resize(model.pieces.size());
  words_are_independent = model.algorithm == SentencepieceModel::Algorithm::kBpe;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const SentencepieceModel::Piece& piece = model.pieces[i];
    const auto id = static_cast<int32_t>(i);
    switch (piece.type) {
      case PieceType::kUnknown:
        tokens[i] = {TokenKind::kUnknown, ""};
        break;
      case PieceType::kControl:
        tokens[i] = {TokenKind::kControl, ""};
        controls.add(piece.text, id);
        break;
      case PieceType::kByte: {
        const int byte = byte_of_piece(piece.text);
        if (byte < 0) throw_input("{}: piece {} has type byte and is not of the form <0xNN>", where, i);
        tokens[i] = {TokenKind::kByte, std::string(1, static_cast<char>(byte))};
        byte_ids[static_cast<size_t>(byte)] = id;
        break;
      }
      default:
        tokens[i] = {piece.type == PieceType::kUserDefined ? TokenKind::kUserDefined : TokenKind::kNormal,
                     spaces_for_marks(piece.text)};
        if (has_inner_space(piece.text)) words_are_independent = false;
    }
  }
  lossless = std::none_of(byte_ids.begin(), byte_ids.end(), [](int32_t id) { return id < 0; });
}

void SentencepieceTokenizer::Impl::push_bytes(std::string_view bytes, size_t offset, std::vector<int32_t>& ids) const {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int32_t id = byte_ids[static_cast<uint8_t>(bytes[i])];
    if (id < 0) {
      throw_input(
          "{}: the model has no byte pieces, so \"{}\" at byte {} of the text would be lost; use a model with byte "
          "fallback",
          where, replace_invalid_utf8(bytes.substr(0, 40)), offset + i);
    }
    ids.push_back(id);
  }
}

bool SentencepieceTokenizer::Impl::stands_for(std::span<const int32_t> ids, std::string_view text, bool prefix) const {
  if (prefix && (ids.empty() || !can_begin_with_prefix(ids.front()))) return false;
  size_t position = 0;
  bool take_off = prefix;
  for (const int32_t id : ids) {
    std::string_view bytes = tokens[static_cast<size_t>(id)].bytes;
    if (take_off) bytes.remove_prefix(1);
    take_off = false;
    if (text.compare(position, bytes.size(), bytes) != 0) return false;
    position += bytes.size();
  }
  return position == text.size();
}

// One word (or a whole text, when words depend on each other). Whatever the library loses is written as bytes.
void SentencepieceTokenizer::Impl::encode_word(std::string_view word, size_t offset, bool prefix, Scratch& scratch,
                                               std::vector<int32_t>& ids) const {
  std::string_view input = word;
  if (prefix) {
    scratch.prefixed.assign(1, ' ');
    scratch.prefixed += word;
    input = scratch.prefixed;
  }
  const bool cacheable = !prefix && input.size() <= WordCache::kMaxKey;
  uint64_t hash = 0;
  if (cacheable) {
    hash = hash_word(input);
    const std::span<const int32_t> known = scratch.cache.find(input, hash);
    if (!known.empty()) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
  }
  if (!fast || !fast->encode(input, scratch.merge, scratch.ids)) {
    const std::string error = exact->encode(input, scratch.ids);
    if (!error.empty()) throw_input("{}: the SentencePiece library cannot encode: {}", where, error);
  }
  const size_t first = ids.size();
  if (stands_for(scratch.ids, word, prefix)) {
    ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
  } else {
    // In a text of several words only those that the library changes are written as bytes.
    size_t end = std::min(word.find_first_not_of(' '), word.size());
    end = std::min(word.find(' ', end), word.size());
    if (end < word.size()) {
      encode_separately(word, offset, prefix, scratch, ids);
      return;
    }
    push_bytes(word, offset, ids);
  }
  if (cacheable) scratch.cache.insert(input, hash, std::span(ids).subspan(first));
}

// Valid UTF-8 without U+2581.
void SentencepieceTokenizer::Impl::encode_valid(std::string_view text, size_t offset, bool& prefix, Scratch& scratch,
                                                std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  if (words_are_independent) {
    encode_separately(text, offset, prefix, scratch, ids);
  } else {
    encode_word(text, offset, prefix, scratch, ids);
  }
  prefix = false;
}

// Word by word; a word has its spaces in front.
void SentencepieceTokenizer::Impl::encode_separately(std::string_view text, size_t offset, bool prefix,
                                                     Scratch& scratch, std::vector<int32_t>& ids) const {
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find_first_not_of(' ', begin), text.size());
    end = std::min(text.find(' ', end), text.size());
    encode_word(text.substr(begin, end - begin), offset + begin, prefix, scratch, ids);
    prefix = false;
    begin = end;
  }
}

void SentencepieceTokenizer::Impl::encode_section(std::string_view section, size_t offset, bool& prefix,
                                                  Scratch& scratch, std::vector<int32_t>& ids) const {
  size_t done = 0;
  for (size_t position = 0; position < section.size();) {
    const CodePoint code_point = decode_utf8(section, position);
    if (code_point.valid && code_point.value != kSpaceMarkValue) {
      position += code_point.size;
      continue;
    }
    encode_valid(section.substr(done, position - done), offset + done, prefix, scratch, ids);
    push_bytes(section.substr(position, code_point.size), offset + position, ids);
    prefix = false;
    position += code_point.size;
    done = position;
  }
  encode_valid(section.substr(done), offset + done, prefix, scratch, ids);
}

Tokens SentencepieceTokenizer::Impl::encode(std::string_view text, TextStart start, bool with_special) const {
  Tokens out;
  out.ids.reserve(text.size() / 3 + 8);
  auto scratch = scratches.take();
  bool prefix = start == TextStart::kDocument && model.adds_dummy_prefix;
  bool take_off = prefix;
  size_t position = 0;
  // Ends follow from the tokens' bytes; only the dummy space has none in the text.
  const auto add_ends = [&] {
    for (size_t i = out.ends.size(); i < out.ids.size(); ++i) {
      size_t size = tokens[static_cast<size_t>(out.ids[i])].bytes.size();
      if (take_off && can_begin_with_prefix(out.ids[i])) --size;
      take_off = false;
      position += size;
      out.ends.push_back(static_cast<uint32_t>(position));
    }
  };
  out.ends.reserve(text.size() / 3 + 8);
  size_t done = 0;
  if (with_special) {
    for (LiteralMatcher::Match match = controls.find(text, 0); match.begin != std::string_view::npos;
         match = controls.find(text, done)) {
      encode_section(text.substr(done, match.begin - done), done, prefix, *scratch, out.ids);
      add_ends();
      done = match.begin + match.size;
      position = done;
      out.ids.push_back(match.value);
      out.ends.push_back(static_cast<uint32_t>(done));
    }
  }
  encode_section(text.substr(done), done, prefix, *scratch, out.ids);
  add_ends();
  VERBATIM_ASSERT(position == text.size(), "{}: {} bytes of tokens for {} bytes of text", where, position, text.size());
  return out;
}

SentencepieceTokenizer::SentencepieceTokenizer(std::string model, std::string_view where)
    : impl_(std::make_unique<Impl>(std::move(model), where)) {}
SentencepieceTokenizer::~SentencepieceTokenizer() = default;

const TokenTable& SentencepieceTokenizer::table() const { return *impl_; }

Tokens SentencepieceTokenizer::encode_text(std::string_view text, TextStart start, bool with_special) const {
  return impl_->encode(text, start, with_special);
}

std::vector<int32_t> SentencepieceTokenizer::encode_like_original(std::string_view text) const {
  std::vector<int> ids;
  const std::string error = impl_->original->encode(text, ids);
  if (!error.empty()) throw_input("{}: the SentencePiece library cannot encode: {}", impl_->where, error);
  return ids;
}

std::string SentencepieceTokenizer::decode(const std::vector<int32_t>& ids, TextStart start) const {
  std::string text;
  bool take_off = start == TextStart::kDocument && impl_->model.adds_dummy_prefix;
  for (const int32_t id : ids) {
    const TokenBytes& token = impl_->token(id);
    std::string_view bytes = token.bytes;
    if (take_off && token.kind != TokenKind::kControl && token.kind != TokenKind::kUnknown) {
      if (impl_->can_begin_with_prefix(id)) bytes.remove_prefix(1);
      take_off = false;
    }
    text += bytes;
  }
  return text;
}

std::string SentencepieceTokenizer::decode_like_original(const std::vector<int32_t>& ids) const {
  for (const int32_t id : ids) (void)impl_->token(id);
  std::string text;
  const std::string error = impl_->original->decode(ids, text);
  if (!error.empty()) throw_input("{}: the SentencePiece library cannot decode: {}", impl_->where, error);
  return text;
}

}  // namespace verbatim
