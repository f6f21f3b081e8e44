// libverbatim_sentencepiece.so: all that touches libsentencepiece; see sentencepiece_library.h.
#include <sentencepiece_processor.h>

#include "tokenizers/sentencepiece_library.h"

namespace verbatim {
namespace {

class Library final : public SentencepieceLibrary {
 public:
  std::string load(std::string_view model_bytes) override {
    return message(processor_.LoadFromSerializedProto(model_bytes));
  }
  std::string encode(std::string_view text, std::vector<int>& ids) const override {
    return message(processor_.Encode(text, &ids));
  }
  std::string decode(const std::vector<int>& ids, std::string& text) const override {
    return message(processor_.Decode(ids, &text));
  }
  int piece_count() const override { return processor_.GetPieceSize(); }
  int begin_id() const override { return processor_.bos_id(); }
  int end_id() const override { return processor_.eos_id(); }

 private:
  static std::string message(const sentencepiece::util::Status& status) { return status.ok() ? "" : status.ToString(); }

  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace
}  // namespace verbatim

extern "C" __attribute__((visibility("default"))) verbatim::SentencepieceLibrary* verbatim_make_sentencepiece() {
  return new verbatim::Library();
}
