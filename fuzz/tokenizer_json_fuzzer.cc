// A tokenizer.json from anywhere, up to the first zero byte; what lies behind it is a text. The file is refused with an
// InputError, or it makes a tokenizer that keeps its promises on the text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizers/bpe_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace verbatim;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = std::min(input.find('\0'), size);
  const std::string_view text = input.substr(std::min(zero + 1, size));
  try {
    const BpeTokenizer tokenizer(std::string(input.substr(0, zero)), "fuzz.json");
    (void)tokenizer.encode_like_original(text);
    (void)tokenizer.encode_with_special(text);
    const Tokens tokens = tokenizer.encode(text);
    if (tokenizer.decode(tokens.ids) != text) std::abort();
    if (tokens.ends.size() != tokens.ids.size()) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}
