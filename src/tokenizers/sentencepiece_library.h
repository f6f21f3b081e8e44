#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// One model in libsentencepiece, behind virtual functions: the library lives in libverbatim_sentencepiece.so, which is
// opened with a scope of its own. Debian's libsentencepiece carries and exports an older protobuf than the one that
// LibTorch links; in one scope the two mix and the program dies before main().
class SentencepieceLibrary {
 public:
  virtual ~SentencepieceLibrary() = default;

  // These return what went wrong in the library's words, or "".
  [[nodiscard]] virtual std::string load(std::string_view model_bytes) = 0;
  [[nodiscard]] virtual std::string encode(std::string_view text, std::vector<int>& ids) const = 0;
  [[nodiscard]] virtual std::string decode(const std::vector<int>& ids, std::string& text) const = 0;

  [[nodiscard]] virtual int piece_count() const = 0;
  [[nodiscard]] virtual int begin_id() const = 0;
  [[nodiscard]] virtual int end_id() const = 0;

  // Opens libverbatim_sentencepiece.so at the first call. Throws InputError when it is not there.
  [[nodiscard]] static std::unique_ptr<SentencepieceLibrary> make();
};

}  // namespace verbatim
