#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// What an id stands for (specs: token bytes). Control and unknown ids never come from text.
enum class TokenKind : uint8_t { kNormal, kUserDefined, kByte, kControl, kUnknown };

struct TokenBytes {
  TokenKind kind = TokenKind::kNormal;
  std::string bytes;  // empty for control and unknown ids
};

// Where a text stands in its document: the first piece of a document may get the tokenizer's own prefix
// (SentencePiece's dummy space), a later piece never does.
enum class TextStart { kDocument, kContinuation };

struct Tokens {
  std::vector<int32_t> ids;
  // ends[i]: byte offset in the text just behind token i; begins are the previous ends. The last one is the text's
  // size. A token that stands only for the tokenizer's own prefix has no bytes in the text: it begins and ends at 0.
  std::vector<uint32_t> ends;
};

// What is known of a tokenizer once its file is read.
struct TokenTable {
  std::string where;  // the file's path, for messages
  std::string file;   // its bytes
  std::vector<TokenBytes> tokens = {};
  std::array<int32_t, 256> byte_ids = {};  // -1: none
  bool lossless = true;                    // encode() can write down every byte string
  int32_t begin = -1;                      // start and end symbols, -1: none
  int32_t end = -1;

  // Throws InputError for ids out of range.
  [[nodiscard]] const TokenBytes& token(int64_t id) const;
};

// A tokenizer decided before training: SentencePiece or tokenizer.json behind one interface. Thread safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Chosen by the file: "*.model" is SentencePiece, "*.json" is tokenizer.json. Throws InputError.
  [[nodiscard]] static std::shared_ptr<const Tokenizer> open(const std::filesystem::path& path);

  [[nodiscard]] int64_t vocabulary_size() const { return static_cast<int64_t>(table().tokens.size()); }
  // Whether encode() can write down every byte string. False for vocabularies without all 256 bytes.
  [[nodiscard]] bool is_lossless() const { return table().lossless; }
  // Lossless: decode(encode(text).ids) == text for every byte string; the ends tile the text. Equal to the original
  // library's ids wherever that library is lossless itself (everywhere but U+2581 in the text and invalid UTF-8, which
  // become byte pieces). Never gives control ids: text cannot inject them. Throws InputError with the place of the
  // first text that a vocabulary without all bytes cannot write, and for texts of 4 GiB and more.
  [[nodiscard]] Tokens encode(std::string_view text, TextStart start = TextStart::kDocument) const {
    return encode_checked(text, start, /*with_special=*/false);
  }
  // encode() that also recognises the spellings of control ids ("<s>", "<|endoftext|>"); only for text that its author
  // may give such power, for instance a chat template. decode() leaves these ids out.
  [[nodiscard]] Tokens encode_with_special(std::string_view text, TextStart start = TextStart::kDocument) const {
    return encode_checked(text, start, /*with_special=*/true);
  }
  // Exactly what the original library gives, lossy or not (no offsets). No start or end symbol is added.
  [[nodiscard]] virtual std::vector<int32_t> encode_like_original(std::string_view text) const = 0;
  // The bytes of a whole document (a dummy prefix is taken off again), or of a later piece of one (kContinuation: the
  // token bytes put together). Control and unknown ids stand for nothing. Throws InputError for ids out of range.
  [[nodiscard]] virtual std::string decode(const std::vector<int32_t>& ids,
                                           TextStart start = TextStart::kDocument) const = 0;
  // What the original library decodes: U+FFFD for broken byte runs, its own mark for unknown, control ids left out.
  [[nodiscard]] virtual std::string decode_like_original(const std::vector<int32_t>& ids) const = 0;
  // Throws InputError for ids out of range.
  [[nodiscard]] const TokenBytes& token_bytes(int32_t id) const { return table().token(id); }
  // Start and end symbols, -1 when the tokenizer has none.
  [[nodiscard]] int32_t begin_id() const { return table().begin; }
  [[nodiscard]] int32_t end_id() const { return table().end; }
  // The file's bytes (copied into model folders) and the name it goes by there ("tokenizer.model", "tokenizer.json").
  [[nodiscard]] const std::string& file_bytes() const { return table().file; }
  [[nodiscard]] virtual std::string file_name() const = 0;

 private:
  [[nodiscard]] Tokens encode_checked(std::string_view text, TextStart start, bool with_special) const;

  [[nodiscard]] virtual const TokenTable& table() const = 0;
  // Of texts of less than 4 GiB. `with_special`: spellings of control ids are recognised.
  [[nodiscard]] virtual Tokens encode_text(std::string_view text, TextStart start, bool with_special) const = 0;
};

}  // namespace verbatim
