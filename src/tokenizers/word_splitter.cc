#include "tokenizers/word_splitter.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr uint8_t kKnown = kLetter | kNumber | kSpace;

// Reads classes of units; "other" (0) is everything that is no letter, number or space.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), table_(CharacterTable::get()), ascii_(ascii_classes()) {}

  struct Unit {
    uint8_t classes;
    uint8_t size;
  };
  [[nodiscard]] Unit unit(size_t position) const {
    const auto byte = static_cast<unsigned char>(text_[position]);
    if (byte < 0x80) return {ascii_[byte], 1};
    const CodePoint code_point = decode_utf8(text_, position);
    if (!code_point.valid) return {0, 1};
    return {static_cast<uint8_t>(table_.classes(code_point.value) & kKnown), code_point.size};
  }
  [[nodiscard]] bool at_end(size_t position) const { return position >= text_.size(); }
  [[nodiscard]] char byte(size_t position) const { return text_[position]; }

  // Behind the run of units that have one of the wanted classes.
  [[nodiscard]] size_t skip(size_t position, uint8_t wanted) const {
    while (!at_end(position)) {
      const Unit next = unit(position);
      if ((next.classes & wanted) == 0) break;
      position += next.size;
    }
    return position;
  }
  [[nodiscard]] size_t skip_other(size_t position) const {
    while (!at_end(position)) {
      const Unit next = unit(position);
      if (next.classes != 0) break;
      position += next.size;
    }
    return position;
  }
  [[nodiscard]] size_t skip_line_breaks(size_t position) const {
    while (!at_end(position) && is_line_break(text_[position])) ++position;
    return position;
  }
  [[nodiscard]] static bool is_line_break(char byte) { return byte == '\r' || byte == '\n'; }

  // The tail both patterns share: a run of spaces gives its last one to the word behind it, unless the text ends.
  [[nodiscard]] size_t end_of_spaces(size_t begin) const {
    size_t last = begin;
    size_t position = begin;
    while (!at_end(position)) {
      const Unit next = unit(position);
      if ((next.classes & kSpace) == 0) break;
      last = position;
      position += next.size;
    }
    return at_end(position) || last == begin ? position : last;
  }

 private:
  static const std::array<uint8_t, 128>& ascii_classes() {
    static const std::array<uint8_t, 128> classes = [] {
      std::array<uint8_t, 128> table{};
      for (size_t i = 0; i < table.size(); ++i) {
        table[i] = static_cast<uint8_t>(character_classes(static_cast<char32_t>(i)) & kKnown);
      }
      return table;
    }();
    return classes;
  }

  std::string_view text_;
  const CharacterTable& table_;
  const std::array<uint8_t, 128>& ascii_;
};

// The size of 's 't 're 've 'm 'll 'd at `begin`, which holds the apostrophe; 0 when there is none.
size_t contraction_size(std::string_view rest) {
  if (rest.size() < 2) return 0;
  switch (rest[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return rest.size() > 2 && rest[2] == 'e' ? 3 : 0;
    case 'l':
      return rest.size() > 2 && rest[2] == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

size_t contraction_size_any_case(std::string_view rest) {
  // Case folding also makes U+017F (long s) an s.
  if (rest.substr(1).starts_with("\xC5\xBF")) return 3;
  char folded[3];
  const size_t size = rest.size() < 3 ? rest.size() : 3;
  for (size_t i = 0; i < size; ++i) {
    folded[i] = rest[i] >= 'A' && rest[i] <= 'Z' ? static_cast<char>(rest[i] + ('a' - 'A')) : rest[i];
  }
  return contraction_size(std::string_view(folded, size));
}

size_t gpt2_word_end(std::string_view text, size_t begin) {
  const Reader reader(text);
  const char first = reader.byte(begin);
  if (first == '\'') {
    if (const size_t size = contraction_size(text.substr(begin)); size != 0) return begin + size;
  }
  const size_t body = begin + (first == ' ' ? 1 : 0);
  if (!reader.at_end(body)) {
    const Reader::Unit unit = reader.unit(body);
    if ((unit.classes & kLetter) != 0) return reader.skip(body + unit.size, kLetter);
    if ((unit.classes & kNumber) != 0) return reader.skip(body + unit.size, kNumber);
    if (unit.classes == 0) return reader.skip_other(body + unit.size);
  }
  return reader.end_of_spaces(begin);
}

size_t llama3_word_end(std::string_view text, size_t begin, int max_digits) {
  const Reader reader(text);
  const char first = reader.byte(begin);
  if (first == '\'') {
    if (const size_t size = contraction_size_any_case(text.substr(begin)); size != 0) return begin + size;
  }
  const Reader::Unit unit = reader.unit(begin);
  const size_t second = begin + unit.size;
  if ((unit.classes & kLetter) != 0) return reader.skip(second, kLetter);
  if ((unit.classes & kNumber) != 0) {
    size_t end = second;
    for (int digits = 1; digits < max_digits && !reader.at_end(end); ++digits) {
      const Reader::Unit next = reader.unit(end);
      if ((next.classes & kNumber) == 0) break;
      end += next.size;
    }
    return end;
  }
  // One character in front of letters belongs to them.
  if (!Reader::is_line_break(first) && !reader.at_end(second)) {
    const Reader::Unit next = reader.unit(second);
    if ((next.classes & kLetter) != 0) return reader.skip(second + next.size, kLetter);
  }
  if (unit.classes == 0) return reader.skip_line_breaks(reader.skip_other(second));
  if (first == ' ' && !reader.at_end(second)) {
    const Reader::Unit next = reader.unit(second);
    if (next.classes == 0) return reader.skip_line_breaks(reader.skip_other(second + next.size));
  }
  // A run of spaces ends behind its last line break, when it has one.
  size_t behind_line_break = 0;
  for (size_t position = begin; !reader.at_end(position);) {
    const Reader::Unit next = reader.unit(position);
    if ((next.classes & kSpace) == 0) break;
    position += next.size;
    if (Reader::is_line_break(reader.byte(position - 1))) behind_line_break = position;
  }
  return behind_line_break != 0 ? behind_line_break : reader.end_of_spaces(begin);
}

}  // namespace

std::string_view regex_of(WordPattern pattern) {
  switch (pattern) {
    case WordPattern::kGpt2:
      return kGpt2Regex;
    case WordPattern::kLlama3:
      return kLlama3Regex;
    case WordPattern::kQwen2:
      return kQwen2Regex;
  }
  return {};
}

std::optional<WordPattern> find_word_pattern(std::string_view regex) {
  for (const WordPattern pattern : {WordPattern::kGpt2, WordPattern::kLlama3, WordPattern::kQwen2}) {
    if (regex_of(pattern) == regex) return pattern;
  }
  return std::nullopt;
}

size_t word_end(WordPattern pattern, std::string_view text, size_t begin) {
  switch (pattern) {
    case WordPattern::kGpt2:
      return gpt2_word_end(text, begin);
    case WordPattern::kLlama3:
      return llama3_word_end(text, begin, 3);
    case WordPattern::kQwen2:
      return llama3_word_end(text, begin, 1);
  }
  return text.size();
}

}  // namespace verbatim
