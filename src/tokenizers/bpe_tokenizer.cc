#include "tokenizers/bpe_tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "tokenizers/bpe_merger.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/code_point_map.h"
#include "tokenizers/literal_matcher.h"
#include "tokenizers/piece_spelling.h"
#include "tokenizers/scratch_pool.h"
#include "tokenizers/tokenizer_json.h"
#include "tokenizers/word_cache.h"

namespace verbatim {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

constexpr std::string_view kBeginNames[] = {"<s>",
                                            "<|begin_of_text|>",
                                            "<bos>",
                                            "[BOS]",
                                            "<|startoftext|>",
                                            "<|bos|>",
                                            "<|endoftext|>",
                                            "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>"};
constexpr std::string_view kEndNames[] = {
    "</s>",          "<|end_of_text|>", "<eos>",      "[EOS]",
    "<|endoftext|>", "<|eos|>",         "<|im_end|>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return hash_word(text); }
};
using IdMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

bool is_word_character(char32_t value) {
  return value == U'_' || (character_classes(value) & (kLetter | kMark | kNumber)) != 0;
}

// As Rust's lossy conversion shows broken text: U+FFFD for every maximal beginning of a character.
std::string replace_broken_characters(std::string_view text) {
  std::string out;
  for (size_t position = 0; position < text.size();) {
    const CodePoint code_point = decode_utf8(text, position);
    if (code_point.valid) {
      out.append(text, position, code_point.size);
      position += code_point.size;
      continue;
    }
    out += kReplacement;
    size_t size = 1;
    while (size < 3 && position + size < text.size() && complete_prefix_length(text.substr(position, size + 1)) == 0) {
      ++size;
    }
    position += size;
  }
  return out;
}

}  // namespace

struct BpeTokenizer::Impl : TokenTable {
  struct Scratch {
    WordCache cache;
    BpeMerger::Scratch merge;
    std::vector<int32_t> symbols;
    std::string marked;
  };

  TokenizerJson json;
  // Words as the merger sees them: bytes for byte-level vocabularies, text with U+2581 for spaces otherwise.
  IdMap word_ids;
  CodePointMap character_ids;
  BpeMerger merger;
  std::array<LiteralMatcher, 2> plain_added;  // not special; [0] found first, [1] (normalized) in what is left
  std::array<LiteralMatcher, 2> all_added;
  std::array<LiteralMatcher, 2> original_added;  // the library looks for normalized tokens in their normalized spelling
  std::unordered_map<int32_t, TokenizerJson::AddedToken> added_by_id;
  int32_t unknown_id = -1;
  bool has_prefix = false;         // encode() puts a space in front of a document
  bool cuts_before_marks = false;  // no merge crosses from text to U+2581, so words can be cut there
  mutable ScratchPool<Scratch> scratches;

  Impl(std::string bytes, std::string_view path);
  void fill_tokens();
  void fill_merger();
  void choose_begin_and_end();
  // What the library's normalizer makes of a section.
  [[nodiscard]] std::string normalize(std::string_view section) const;

  [[nodiscard]] bool is_special(int32_t id) const {
    const auto added = added_by_id.find(id);
    return added != added_by_id.end() && added->second.special;
  }

  // Appends the ids of one word. `original`: unknown characters become the unknown id instead of an error.
  void encode_word(std::string_view word, bool original, Scratch& scratch, std::vector<int32_t>& ids) const;
  void symbols_of_word(std::string_view word, bool original, std::vector<int32_t>& symbols) const;
  void encode_section(std::string_view section, bool with_prefix, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_marked_section(std::string_view section, bool with_prefix, Scratch& scratch,
                             std::vector<int32_t>& ids) const;
  [[nodiscard]] Tokens encode(std::string_view text, TextStart start, bool with_special) const;
  [[nodiscard]] LiteralMatcher::Match find_added(const LiteralMatcher& matcher, std::string_view text,
                                                 size_t from) const;
};

BpeTokenizer::Impl::Impl(std::string bytes, std::string_view path)
    : TokenTable{.where = std::string(path), .file = std::move(bytes)}, json(TokenizerJson::parse(file, path)) {
  fill_tokens();
  fill_merger();
  choose_begin_and_end();
  using Prefix = TokenizerJson::PrefixSpace;
  has_prefix = json.prefix_by_normalizer || json.metaspace_prefix != Prefix::kNever;
  lossless = std::none_of(byte_ids.begin(), byte_ids.end(), [](int32_t id) { return id < 0; });
  if (json.marks_spaces && !word_ids.contains(kSpaceMark)) {
    throw_input("{}: model.vocab has no piece for the space (U+2581)", where);
  }
}

void BpeTokenizer::Impl::fill_tokens() {
  tokens.resize(static_cast<size_t>(json.vocabulary_size));
  byte_ids.fill(-1);
  std::vector<bool> taken(tokens.size(), false);
  for (const auto& [piece, id] : json.vocabulary) taken[static_cast<size_t>(id)] = true;
  // A hole in the ids stands for nothing and never comes from text.
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!taken[id]) tokens[id].kind = TokenKind::kControl;
  }
  std::vector<const std::string*> spelled(tokens.size(), nullptr);
  for (const auto& [piece, id] : json.vocabulary) {
    spelled[static_cast<size_t>(id)] = &piece;
    TokenBytes& token = tokens[static_cast<size_t>(id)];
    const int byte = json.byte_fallback ? byte_of_piece(piece) : -1;
    if (json.unknown_token && piece == *json.unknown_token) {
      token = {TokenKind::kUnknown, ""};
      unknown_id = id;
    } else if (byte >= 0) {
      token = {TokenKind::kByte, std::string(1, static_cast<char>(byte))};
      byte_ids[static_cast<size_t>(byte)] = id;
    } else if (json.byte_level) {
      // A piece outside the byte alphabet cannot come from text; it prints as it is spelled.
      const std::optional<std::string> bytes = from_byte_level(piece);
      token = {TokenKind::kNormal, bytes ? *bytes : piece};
    } else {
      token = {TokenKind::kNormal, json.marks_spaces ? spaces_for_marks(piece) : piece};
    }
  }
  for (const TokenizerJson::AddedToken& added : json.added_tokens) {
    const auto index = static_cast<size_t>(added.id);
    if (spelled[index] != nullptr && *spelled[index] != added.content) {
      throw_input("{}: the added token \"{}\" has id {}, which is \"{}\" in model.vocab", where, added.content,
                  added.id, *spelled[index]);
    }
    if (!added_by_id.try_emplace(added.id, added).second) {
      throw_input("{}: two added tokens have the id {}", where, added.id);
    }
    const size_t phase = added.normalized ? 1 : 0;
    original_added[phase].add(added.normalized ? normalize(added.content) : added.content, added.id);
    // Merges can reach a vocabulary entry whose spelling is not its text (it has space marks, or the byte alphabet). It
    // keeps the meaning it has there; the library would find the spelling itself in text.
    const bool is_spelling = spelled[index] != nullptr && tokens[index].bytes != added.content;
    if (!added.special && is_spelling) continue;
    if (tokens[index].kind != TokenKind::kUnknown) {
      tokens[index] =
          added.special ? TokenBytes{TokenKind::kControl, ""} : TokenBytes{TokenKind::kUserDefined, added.content};
    }
    all_added[phase].add(added.content, added.id);
    if (tokens[index].kind == TokenKind::kUserDefined) plain_added[phase].add(added.content, added.id);
  }
  if (json.unknown_token && unknown_id < 0) {
    throw_input("{}: the unknown token \"{}\" is not in model.vocab", where, *json.unknown_token);
  }
  for (const auto& [piece, id] : json.vocabulary) {
    const TokenBytes& token = tokens[static_cast<size_t>(id)];
    // An added token that is not special keeps its place among the words; control and unknown ids have none.
    if (token.kind != TokenKind::kNormal && token.kind != TokenKind::kUserDefined) continue;
    if (!json.byte_level) {
      word_ids.emplace(piece, id);
      const CodePoint first = piece.empty() ? CodePoint{} : decode_utf8(piece, 0);
      if (first.valid && first.size == piece.size()) character_ids.set(first.value, id);
      continue;
    }
    const std::optional<std::string> bytes = from_byte_level(piece);
    if (!bytes || bytes->empty()) continue;
    word_ids.emplace(*bytes, id);
    if (bytes->size() == 1) byte_ids[static_cast<uint8_t>(bytes->front())] = id;
  }
}

std::string BpeTokenizer::Impl::normalize(std::string_view section) const {
  std::string out(section);
  for (const NormalForm form : json.normal_forms) out = normalize_unicode(out, form);
  if (json.prefix_by_normalizer && !out.empty()) out.insert(0, kSpaceMark);
  if (json.spaces_marked_by_normalizer) out = marks_for_spaces(out);
  return out;
}

void BpeTokenizer::Impl::fill_merger() {
  merger.reserve(json.merges.size());
  const auto produces_text = [&](int32_t id) {
    const TokenKind kind = tokens[static_cast<size_t>(id)].kind;
    return kind != TokenKind::kControl && kind != TokenKind::kUnknown;
  };
  for (size_t rank = 0; rank < json.merges.size(); ++rank) {
    const TokenizerJson::Merge& merge = json.merges[rank];
    if (!produces_text(merge.result)) continue;  // text must not become a control id
    // A merge of pieces that do not stand for their spelling ("<0x61>") would lose text.
    const auto text = [&](int32_t id) -> const std::string& { return tokens[static_cast<size_t>(id)].bytes; };
    if (text(merge.left) + text(merge.right) != text(merge.result)) continue;
    merger.add(merge.left, merge.right, static_cast<uint32_t>(rank), merge.result);
  }
  json.merges = {};
  if (!json.spaces_marked_by_normalizer || !json.pre_tokenizer.stages().empty() || json.ignore_merges) return;
  cuts_before_marks = true;
  for (const auto& [piece, id] : json.vocabulary) {
    size_t text_begin = 0;
    while (std::string_view(piece).substr(text_begin).starts_with(kSpaceMark)) text_begin += kSpaceMark.size();
    if (piece.find(kSpaceMark, text_begin) != std::string::npos && produces_text(id)) cuts_before_marks = false;
  }
}

void BpeTokenizer::Impl::choose_begin_and_end() {
  const auto id_of = [&](std::string_view name) -> int32_t {
    if (name.empty()) return -1;
    for (const TokenizerJson::AddedToken& added : json.added_tokens) {
      if (added.content == name) return added.id;
    }
    return -1;
  };
  begin = id_of(json.begin_token);
  end = id_of(json.end_token);
  for (const std::string_view name : kBeginNames) {
    if (begin < 0) begin = id_of(name);
  }
  for (const std::string_view name : kEndNames) {
    if (end < 0) end = id_of(name);
  }
}

void BpeTokenizer::Impl::symbols_of_word(std::string_view word, bool original, std::vector<int32_t>& symbols) const {
  symbols.clear();
  const auto cannot_write = [&](std::string_view unit) {
    throw_input(
        "{}: the vocabulary cannot write \"{}\" and has no byte pieces, so this text would be lost; use a "
        "tokenizer with byte fallback",
        where, replace_invalid_utf8(unit));
  };
  if (json.byte_level) {
    for (size_t i = 0; i < word.size(); ++i) {
      const int32_t id = byte_ids[static_cast<uint8_t>(word[i])];
      if (id >= 0) {
        symbols.push_back(id);
      } else if (!original) {
        cannot_write(word.substr(i, 1));
      } else if (unknown_id >= 0) {
        symbols.push_back(unknown_id);
      }
    }
    return;
  }
  bool previous_was_unknown = false;
  for (const Utf8Unit& unit : Utf8Units(word)) {
    const std::string_view character = word.substr(unit.position, unit.code_point.size);
    const int32_t known = unit.code_point.valid ? character_ids.find(unit.code_point.value) : -1;
    if (known >= 0) {
      symbols.push_back(known);
      previous_was_unknown = false;
      continue;
    }
    const bool has_bytes = json.byte_fallback && std::all_of(character.begin(), character.end(), [&](char byte) {
                             return byte_ids[static_cast<uint8_t>(byte)] >= 0;
                           });
    if (has_bytes) {
      for (const char byte : character) symbols.push_back(byte_ids[static_cast<uint8_t>(byte)]);
      previous_was_unknown = false;
      continue;
    }
    if (!original) cannot_write(character);
    if (unknown_id >= 0 && !(json.fuse_unknown && previous_was_unknown)) symbols.push_back(unknown_id);
    previous_was_unknown = true;
  }
}

void BpeTokenizer::Impl::encode_word(std::string_view word, bool original, Scratch& scratch,
                                     std::vector<int32_t>& ids) const {
  // Only words without loss are remembered, so both modes may share the cache.
  const bool cacheable = word.size() <= WordCache::kMaxKey && (lossless || !original);
  uint64_t hash = 0;
  if (cacheable) {
    hash = hash_word(word);
    const std::span<const int32_t> known = scratch.cache.find(word, hash);
    if (!known.empty()) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
  }
  std::vector<int32_t>& symbols = scratch.symbols;
  const auto whole = json.ignore_merges ? word_ids.find(word) : word_ids.end();
  if (whole != word_ids.end()) {
    symbols.assign(1, whole->second);
  } else {
    symbols_of_word(word, original, symbols);
    merger.merge(symbols, scratch.merge);
  }
  if (cacheable) scratch.cache.insert(word, hash, symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

// Text between added tokens. Its ids stand for exactly its bytes, plus the space of the prefix.
void BpeTokenizer::Impl::encode_section(std::string_view section, bool with_prefix, Scratch& scratch,
                                        std::vector<int32_t>& ids) const {
  if (!json.marks_spaces) {
    if (json.byte_level || !json.byte_fallback || is_valid_utf8(section)) {
      json.pre_tokenizer.split(section, PreTokenizer::Removal::kKeep,
                               [&](std::string_view word) { encode_word(word, /*original=*/false, scratch, ids); });
      return;
    }
  }
  // U+2581 and invalid bytes are written byte by byte; what lies between is marked text. The same loop serves
  // character vocabularies without marks when the text is not valid.
  size_t done = 0;
  bool prefix = with_prefix;
  const auto flush = [&](size_t until) {
    if (until > done) encode_marked_section(section.substr(done, until - done), prefix, scratch, ids);
    if (until > done) prefix = false;
  };
  for (size_t position = 0; position < section.size();) {
    const CodePoint code_point = decode_utf8(section, position);
    const bool is_mark = json.marks_spaces && code_point.valid && code_point.value == kSpaceMarkValue;
    if (code_point.valid && !is_mark) {
      position += code_point.size;
      continue;
    }
    flush(position);
    prefix = false;
    for (size_t i = 0; i < code_point.size; ++i) {
      const int32_t id = byte_ids[static_cast<uint8_t>(section[position + i])];
      if (id < 0) {
        throw_input(
            "{}: the vocabulary has no byte pieces, so {} at byte {} of the text would be lost; use a tokenizer "
            "with byte fallback",
            where, is_mark ? "the character U+2581" : "a byte that is not valid UTF-8", position);
      }
      ids.push_back(id);
    }
    position += code_point.size;
    done = position;
  }
  flush(section.size());
}

void BpeTokenizer::Impl::encode_marked_section(std::string_view section, bool with_prefix, Scratch& scratch,
                                               std::vector<int32_t>& ids) const {
  const auto sink = [&](std::string_view word) { encode_word(word, /*original=*/false, scratch, ids); };
  if (!json.spaces_marked_by_normalizer) {
    // Metaspace, the last stage, marks the spaces itself.
    if (with_prefix) {
      json.pre_tokenizer.split(" " + std::string(section), PreTokenizer::Removal::kKeep, sink);
    } else {
      json.pre_tokenizer.split(section, PreTokenizer::Removal::kKeep, sink);
    }
    return;
  }
  std::string& marked = scratch.marked;
  marked = with_prefix ? kSpaceMark : "";
  marked += marks_for_spaces(section);
  if (!cuts_before_marks) {
    json.pre_tokenizer.split(marked, PreTokenizer::Removal::kKeep, sink);
    return;
  }
  const std::string_view text = marked;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (text.substr(end).starts_with(kSpaceMark)) end += kSpaceMark.size();
    end = std::min(text.find(kSpaceMark, end), text.size());
    sink(text.substr(begin, end - begin));
    begin = end;
  }
}

LiteralMatcher::Match BpeTokenizer::Impl::find_added(const LiteralMatcher& matcher, std::string_view text,
                                                     size_t from) const {
  for (;;) {
    const LiteralMatcher::Match match = matcher.find(text, from);
    if (match.begin == std::string_view::npos) return match;
    const auto added = added_by_id.find(match.value);
    if (added == added_by_id.end() || !added->second.single_word) return match;
    const size_t before = match.begin == 0 ? 0 : utf8_boundary_before(text, match.begin - 1);
    const bool joined_before = match.begin > 0 && is_word_character(decode_utf8(text, before).value);
    const size_t behind = match.begin + match.size;
    const bool joined_behind = behind < text.size() && is_word_character(decode_utf8(text, behind).value);
    if (!joined_before && !joined_behind) return match;
    from = behind;
  }
}

Tokens BpeTokenizer::Impl::encode(std::string_view text, TextStart start, bool with_special) const {
  Tokens out;
  out.ids.reserve(text.size() / 3 + 8);
  const std::array<LiteralMatcher, 2>& added = with_special ? all_added : plain_added;
  auto scratch = scratches.take();
  bool prefix = has_prefix && start == TextStart::kDocument;
  const bool prefix_wanted = prefix;
  bool prefix_written = false;
  const auto encode_text = [&](std::string_view section) {
    if (section.empty()) return;
    const size_t first = out.ids.size();
    encode_section(section, prefix, *scratch, out.ids);
    // A section that begins with a byte piece has no prefix; decode() looks at the same thing.
    if (prefix) prefix_written = tokens[static_cast<size_t>(out.ids[first])].kind == TokenKind::kNormal;
    prefix = false;
  };
  const auto push_added = [&](int32_t id) {
    out.ids.push_back(id);
    if (tokens[static_cast<size_t>(id)].kind == TokenKind::kUserDefined) prefix = false;
  };
  std::vector<std::pair<size_t, int32_t>> control_sizes;  // token index and bytes of recognised control spellings
  const auto note_control = [&](int32_t id, size_t size) {
    if (tokens[static_cast<size_t>(id)].bytes.size() != size) {
      control_sizes.emplace_back(out.ids.size() - 1, static_cast<int32_t>(size));
    }
  };
  const auto walk = [&](auto& self, size_t phase, std::string_view section) -> void {
    if (phase == added.size()) {
      encode_text(section);
      return;
    }
    size_t done = 0;
    if (!added[phase].empty()) {
      for (LiteralMatcher::Match match = find_added(added[phase], section, 0); match.begin != std::string_view::npos;
           match = find_added(added[phase], section, done)) {
        self(self, phase + 1, section.substr(done, match.begin - done));
        push_added(match.value);
        note_control(match.value, match.size);
        done = match.begin + match.size;
      }
    }
    self(self, phase + 1, section.substr(done));
  };
  walk(walk, 0, text);

  out.ends.resize(out.ids.size());
  size_t position = 0;
  bool space_to_take_off = prefix_wanted && prefix_written;
  size_t next_control = 0;
  for (size_t i = 0; i < out.ids.size(); ++i) {
    const TokenBytes& token = tokens[static_cast<size_t>(out.ids[i])];
    size_t size = token.bytes.size();
    if (next_control < control_sizes.size() && control_sizes[next_control].first == i) {
      size = static_cast<size_t>(control_sizes[next_control++].second);
    } else if (space_to_take_off && token.kind == TokenKind::kNormal) {
      --size;
      space_to_take_off = false;
    }
    position += size;
    out.ends[i] = static_cast<uint32_t>(position);
  }
  VERBATIM_ASSERT(position == text.size(), "{}: {} bytes of tokens for {} bytes of text", where, position, text.size());
  return out;
}

BpeTokenizer::BpeTokenizer(std::string json, std::string_view where)
    : impl_(std::make_unique<Impl>(std::move(json), where)) {}
BpeTokenizer::~BpeTokenizer() = default;

const TokenTable& BpeTokenizer::table() const { return *impl_; }

Tokens BpeTokenizer::encode_text(std::string_view text, TextStart start, bool with_special) const {
  return impl_->encode(text, start, with_special);
}

std::vector<int32_t> BpeTokenizer::encode_like_original(std::string_view text) const {
  const Impl& impl = *impl_;
  const TokenizerJson& json = impl.json;
  using Prefix = TokenizerJson::PrefixSpace;
  // The library takes valid text only; its callers replace what is not.
  const std::string readable = replace_broken_characters(text);
  const std::string_view whole = readable;
  std::vector<int32_t> ids;
  auto scratch = impl.scratches.take();
  const auto encode_normalized = [&](std::string section, bool at_start) {
    if (json.byte_level && json.byte_level_prefix == Prefix::kAlways && !section.starts_with(' ')) {
      section.insert(0, " ");
    }
    const bool metaspace_prefix =
        json.metaspace_prefix == Prefix::kAlways || (json.metaspace_prefix == Prefix::kFirst && at_start);
    if (metaspace_prefix && !section.starts_with(' ') && !section.starts_with(kSpaceMark)) section.insert(0, " ");
    json.pre_tokenizer.split(section, PreTokenizer::Removal::kDrop,
                             [&](std::string_view word) { impl.encode_word(word, /*original=*/true, *scratch, ids); });
  };
  // Cuts out the added tokens of a phase, with the white space they swallow.
  const auto cut = [&](const LiteralMatcher& matcher, std::string_view section, auto&& rest) {
    size_t done = 0;
    if (!matcher.empty()) {
      for (LiteralMatcher::Match match = impl.find_added(matcher, section, 0); match.begin != std::string_view::npos;
           match = impl.find_added(matcher, section, done)) {
        const TokenizerJson::AddedToken& added = impl.added_by_id.at(match.value);
        size_t begin = match.begin;
        size_t end = match.begin + match.size;
        while (added.lstrip && begin > done) {
          const size_t before = utf8_boundary_before(section, begin - 1);
          if (!is_space(decode_utf8(section, before).value)) break;
          begin = before;
        }
        while (added.rstrip && end < section.size()) {
          const CodePoint next = decode_utf8(section, end);
          if (!is_space(next.value)) break;
          end += next.size;
        }
        rest(section.substr(done, begin - done), done);
        ids.push_back(match.value);
        done = end;
      }
    }
    rest(section.substr(done), done);
  };
  cut(impl.original_added[0], whole, [&](std::string_view section, size_t offset) {
    if (section.empty()) return;
    const std::string normalized = impl.normalize(section);
    cut(impl.original_added[1], normalized, [&](std::string_view piece, size_t inner) {
      if (!piece.empty()) encode_normalized(std::string(piece), offset == 0 && inner == 0);
    });
  });
  return ids;
}

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids, TextStart start) const {
  std::string text;
  bool may_have_prefix = impl_->has_prefix && start == TextStart::kDocument;
  for (const int32_t id : ids) {
    const TokenBytes& token = impl_->token(id);
    std::string_view bytes = token.bytes;
    if (may_have_prefix && token.kind != TokenKind::kControl && token.kind != TokenKind::kUnknown) {
      if (token.kind == TokenKind::kNormal && bytes.starts_with(' ')) bytes.remove_prefix(1);
      may_have_prefix = false;
    }
    text += bytes;
  }
  return text;
}

std::string BpeTokenizer::decode_like_original(const std::vector<int32_t>& ids) const {
  std::string text;
  std::string run;  // byte-level: everything; byte fallback: byte pieces in a row
  const auto flush_fallback = [&] {
    if (is_valid_utf8(run)) {
      text += run;
    } else {
      for (size_t i = 0; i < run.size(); ++i) text += kReplacement;
    }
    run.clear();
  };
  for (const int32_t id : ids) {
    const TokenBytes& token = impl_->token(id);
    if (impl_->json.byte_level) {
      run += token.bytes;
    } else if (token.kind == TokenKind::kByte) {
      run += token.bytes;
    } else {
      flush_fallback();
      const bool shown_unknown = token.kind == TokenKind::kUnknown && !impl_->is_special(id);
      text += shown_unknown ? *impl_->json.unknown_token : token.bytes;
    }
  }
  if (impl_->json.byte_level) return replace_broken_characters(run);
  flush_fallback();
  if (impl_->has_prefix && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace verbatim
