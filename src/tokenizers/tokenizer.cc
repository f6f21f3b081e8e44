#include "tokenizers/tokenizer.h"

#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/sentencepiece_tokenizer.h"

namespace verbatim {
namespace {

// Larger than any vocabulary in use.
constexpr uint64_t kMostFileBytes = uint64_t{1} << 28;

}  // namespace

const TokenBytes& TokenTable::token(int64_t id) const {
  if (id < 0 || id >= static_cast<int64_t>(tokens.size())) {
    throw_input("{}: there is no token {}, ids go from 0 to {}", where, id, tokens.size() - 1);
  }
  return tokens[static_cast<size_t>(id)];
}

Tokens Tokenizer::encode_checked(std::string_view text, TextStart start, bool with_special) const {
  if (text.size() > std::numeric_limits<uint32_t>::max()) {
    throw_input("a text of {} bytes; texts of 4 GiB and more must be encoded in parts", text.size());
  }
  return encode_text(text, start, with_special);
}

std::shared_ptr<const Tokenizer> Tokenizer::open(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    // A model folder: its tokenizer goes by one of two names.
    for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
      if (std::filesystem::exists(path / name)) return open(path / name);
    }
    throw_input("{}: expected tokenizer.json or tokenizer.model in this folder, found neither", path.string());
  }
  std::string bytes = read_file(path, kMostFileBytes);
  const std::string where = path.string();
  // The name decides; a file with another name is told by its first character.
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  const bool looks_like_json = first != std::string::npos && bytes[first] == '{';
  const std::string extension = path.extension().string();
  if (extension == ".json" || (extension != ".model" && looks_like_json)) {
    return std::make_shared<BpeTokenizer>(std::move(bytes), where);
  }
  return std::make_shared<SentencepieceTokenizer>(std::move(bytes), where);
}

}  // namespace verbatim
