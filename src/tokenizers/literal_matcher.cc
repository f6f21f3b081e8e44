#include "tokenizers/literal_matcher.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace verbatim {

void LiteralMatcher::add(std::string literal, int32_t value) {
  VERBATIM_ASSERT(!literal.empty(), "a literal must have bytes");
  std::vector<Literal>& bucket = by_first_byte_[static_cast<unsigned char>(literal.front())];
  const auto goes_before = [](const Literal& a, const Literal& b) {
    return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.text < b.text;
  };
  Literal entry{std::move(literal), value};
  const auto place = std::lower_bound(bucket.begin(), bucket.end(), entry, goes_before);
  if (place != bucket.end() && place->text == entry.text) return;
  bucket.insert(place, std::move(entry));
  ++num_literals_;
}

LiteralMatcher::Match LiteralMatcher::find(std::string_view text, size_t from) const {
  if (empty()) return {};
  for (size_t begin = from; begin < text.size(); ++begin) {
    const std::vector<Literal>& bucket = by_first_byte_[static_cast<unsigned char>(text[begin])];
    if (bucket.empty()) continue;
    const std::string_view rest = text.substr(begin);
    for (const Literal& literal : bucket) {
      if (rest.starts_with(literal.text)) return {begin, literal.text.size(), literal.value};
    }
  }
  return {};
}

}  // namespace verbatim
