// Any bytes as a safetensors file: an InputError, or tensors that lie inside the file and fit their types and shapes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/safetensors.h"

namespace {

void check(std::span<const std::byte> file) {
  try {
    const verbatim::SafetensorsReader reader = verbatim::SafetensorsReader::parse(file, "fuzz");
    uint64_t total = 0;
    unsigned sum = 0;
    for (const auto& [name, view] : reader.tensors()) {
      uint64_t expected = verbatim::dtype_bytes(view.dtype);
      for (const int64_t size : view.shape) expected *= static_cast<uint64_t>(size);
      if (expected != view.bytes.size()) std::abort();
      // Touches every byte, so that the sanitizer sees a view that leaves the file.
      for (const std::byte byte : view.bytes) sum += std::to_integer<unsigned>(byte);
      total += view.bytes.size();
      if (!reader.contains(name)) std::abort();
    }
    if (total + 8 > file.size()) std::abort();
    volatile unsigned sink = sum;
    (void)sink;
  } catch (const verbatim::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(data, size);
  check(std::as_bytes(bytes));
  // Once more with a length that is right: the header reaches up to the first line end, the data follows it. Otherwise
  // few inputs would come as far as the JSON.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\n');
  const uint64_t header_bytes = end == std::string_view::npos ? size : end;
  std::string file(sizeof(header_bytes), '\0');
  std::memcpy(file.data(), &header_bytes, sizeof(header_bytes));
  file += text.substr(0, header_bytes);
  if (end != std::string_view::npos) file += text.substr(end + 1);
  check(std::as_bytes(std::span(file)));
  return 0;
}
