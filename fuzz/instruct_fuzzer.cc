// Any bytes as a JSON line of a conversation: a message, or a document of pieces that is read back as it was written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "corpus/instruct.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  for (const auto chat_template : {verbatim::ChatTemplate::kTFree, verbatim::ChatTemplate::kPlain}) {
    std::string document;
    if (const auto error = verbatim::convert_chat_line(line, chat_template, document)) {
      if (error->column > size || error->message.empty()) std::abort();
      continue;
    }
    // What was written must be readable (an InputError here is a failure), and stay the same.
    const verbatim::InstructDocument pieces = verbatim::parse_instruct_document(document, "fuzz");
    if (verbatim::instruct_json(pieces) != document) std::abort();
  }
  return 0;
}
