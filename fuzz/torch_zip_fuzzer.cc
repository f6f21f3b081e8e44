// Any bytes as a torch checkpoint: an InputError, or tensors whose bytes can be read and fit their types and shapes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "formats/torch_zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  unsigned sum = 0;
  try {
    const verbatim::TorchZip zip = verbatim::TorchZip::parse(std::as_bytes(std::span(data, size)), "fuzz");
    const verbatim::TorchTensors tensors = zip.tensors();
    for (const auto& [name, view] : tensors.views) {
      uint64_t expected = verbatim::dtype_bytes(view.dtype);
      for (const int64_t dimension : view.shape) expected *= static_cast<uint64_t>(dimension);
      if (expected != view.bytes.size()) std::abort();
      // Touches every byte, so that the sanitizer sees a view that leaves the file.
      for (const std::byte byte : view.bytes) sum += std::to_integer<unsigned>(byte);
    }
  } catch (const verbatim::InputError&) {
  }
  volatile unsigned sink = sum;
  (void)sink;
  return 0;
}
