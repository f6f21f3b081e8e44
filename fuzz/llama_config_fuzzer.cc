// Any bytes as the config.json of a checkpoint: refused with InputError, or settings from which tensors follow, whose
// own spelling says the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "pretrained/llama_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config = verbatim::LlamaConfig::parse({reinterpret_cast<const char*>(data), size}, "config.json");
    if (config.tensors().size() > 9 * 1024 + 3) std::abort();
    const std::string text = config.to_json();
    if (verbatim::LlamaConfig::parse(text, "again").to_json() != text) std::abort();
  } catch (const verbatim::InputError&) {
  }
  return 0;
}
