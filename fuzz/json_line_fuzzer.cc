// Any bytes as a JSON line and as text to split: no crash, and the splitter does not depend on where blocks end.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/input.h"
#include "corpus/json_line.h"

namespace {

class Collector final : public verbatim::DocumentSink {
 public:
  void append(std::string_view bytes) override { open_.append(bytes); }
  void end() override {
    documents.push_back(open_);
    open_.clear();
  }
  std::vector<std::string> documents;

 private:
  std::string open_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string member;
  if (const auto error = verbatim::read_json_member(text, "text", member); error && error->column > size)
    __builtin_trap();

  using enum verbatim::SplitRule;
  for (const verbatim::SplitRule rule : {kNone, kLines, kBlankLines, kSeparator}) {
    verbatim::InputOptions options;
    options.split = rule;
    options.separator = "aab";
    Collector whole;
    verbatim::TextSplitter one(options, whole);
    one.feed(text);
    one.finish();
    Collector parts;
    verbatim::TextSplitter many(options, parts);
    const size_t block = 1 + (size == 0 ? 0 : data[0] % 7);
    for (size_t begin = 0; begin < size; begin += block) many.feed(text.substr(begin, block));
    many.finish();
    if (whole.documents != parts.documents) __builtin_trap();
  }
  return 0;
}
