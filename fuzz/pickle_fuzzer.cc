// Any bytes as a pickle: an InputError, or values that can be walked through and tensors inside their storage.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/pickle.h"
#include "formats/safetensors.h"

namespace {

constexpr size_t kMaxCopy = 1 << 16;  // bytes; larger views are not walked through

uint64_t walk(const verbatim::PickleValue& value) {
  uint64_t sum = verbatim::type_name(value).size();
  if (const auto* const text = std::get_if<std::string_view>(&value)) {
    for (const char c : *text) sum += static_cast<uint8_t>(c);
  } else if (const auto* const bytes = std::get_if<std::span<const std::byte>>(&value)) {
    for (const std::byte byte : *bytes) sum += std::to_integer<uint8_t>(byte);
  } else if (const auto* const sequence = std::get_if<const verbatim::PickleSequence*>(&value)) {
    for (const verbatim::PickleValue& item : (*sequence)->items) sum += walk(item);
  } else if (const auto* const dictionary = std::get_if<const verbatim::PickleDictionary*>(&value)) {
    for (const auto& [key, item] : (*dictionary)->entries) {
      if ((*dictionary)->find(key) == nullptr) std::abort();
      sum += walk(item);
    }
  } else if (const auto* const tensor = std::get_if<const verbatim::PickleTensor*>(&value)) {
    const size_t size = static_cast<size_t>((*tensor)->element_count()) * verbatim::dtype_bytes((*tensor)->dtype);
    if (size <= kMaxCopy) {
      std::vector<std::byte> copy(size);
      (*tensor)->copy_to(copy);
      if ((*tensor)->is_contiguous() && (*tensor)->contiguous_bytes().size() != size) std::abort();
    }
  }
  return sum;
}

}  // namespace

// The first byte chooses whether unknown names are kept.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<std::byte> numbers(24);
  const verbatim::PickleOptions options{.keep_unknown_names = data[0] % 2 == 1,
                                        .storage = [&](std::string_view) { return std::span(numbers); }};
  volatile uint64_t sink = 0;
  try {
    const auto document =
        verbatim::PickleDocument::parse(std::as_bytes(std::span(data + 1, size - 1)), "fuzz", options);
    sink = walk(document.root());
  } catch (const verbatim::InputError&) {
  }
  (void)sink;
  return 0;
}
