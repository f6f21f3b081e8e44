// Any bytes: walking, validation, boundaries and streaming agree with each other.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/unicode.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace verbatim;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto need = [](bool condition) {
    if (!condition) std::abort();
  };
  const Utf8Result result = validate_utf8(text);
  size_t covered = 0;
  size_t first_invalid = size;
  for (const Utf8Unit& unit : Utf8Units(text)) {
    need(unit.position == covered);
    covered += unit.code_point.size;
    if (!unit.code_point.valid && first_invalid == size) first_invalid = unit.position;
    for (size_t position = unit.position + 1; position < covered; ++position) {
      need(utf8_boundary_before(text, position) == unit.position);
      need(utf8_boundary_after(text, position) == covered);
    }
    need(utf8_boundary_before(text, unit.position) == unit.position);
  }
  need(covered == size);
  need(result.position == first_invalid);
  need(static_cast<bool>(result) == (first_invalid == size));
  const size_t ready = complete_prefix_length(text);
  need(ready <= size && size - ready <= 3);
  if (result) need(ready == size);
  need(is_valid_utf8(replace_invalid_utf8(text)));
  if (size < 4096) (void)normalize_unicode(text, NormalForm::kNfkc);
  return 0;
}
