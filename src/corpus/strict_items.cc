#include "corpus/strict_items.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/text_format.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

// Section 1.6.
bool is_stripped(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// Collects texts, each already cut into words, into one item.
class Assembler {
 public:
  explicit Assembler(const StrictItemOptions& options) : options_(options) { VERBATIM_ASSERT(options.length > 0); }

  [[nodiscard]] bool is_full() const { return item_.words.size() >= options_.length; }

  // At least two words; the weights are those of the words.
  void add(std::vector<std::string> words, const std::vector<float>& weights) {
    for (size_t i = 0; i + 1 < words.size() && !is_full(); ++i) {
      const std::string& target = words[i + 1];
      item_.target_is_end.push_back(target == options_.end_of_text ? 1 : 0);
      item_.weights.push_back(weights[i + 1]);
      item_.positions.push_back(static_cast<int32_t>(options_.reset_positions ? i : item_.words.size()));
      item_.words.push_back({.input = std::move(words[i]), .target = target});
    }
  }

  StrictItem finish() {
    if (!is_full()) {
      item_.weights.resize(options_.length, 0.0F);
      item_.target_is_end.resize(options_.length, 1);
      item_.positions.resize(options_.length);
      std::iota(item_.positions.begin(), item_.positions.end(), 0);
    }
    return std::move(item_);
  }

 private:
  const StrictItemOptions& options_;
  StrictItem item_;
};

void check_words(size_t count, std::string_view where) {
  if (count < 2) throw_input("{}: expected a text of at least two words, got {}; take it out", where, count);
}

}  // namespace

std::string_view strip_text(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const CodePoint c = decode_utf8(text, begin);
    if (!c.valid || !is_stripped(c.value)) break;
    begin += c.size;
  }
  size_t end = text.size();
  while (end > begin) {
    const size_t before = utf8_boundary_before(text, end - 1);
    const CodePoint c = decode_utf8(text, before);
    if (!c.valid || !is_stripped(c.value)) break;
    end = before;
  }
  return text.substr(begin, end - begin);
}

StrictItem pretraining_item(const AlignedIndex& entries, std::span<const uint32_t> permutation, uint64_t index,
                            const SplitText& split, const StrictItemOptions& options) {
  VERBATIM_ASSERT(!permutation.empty() && index < permutation.size(), "item {} of {}", index, permutation.size());
  Assembler assembler(options);
  uint64_t texts_taken = 0;
  while (!assembler.is_full()) {
    const uint64_t entry = permutation[(index + texts_taken) % permutation.size()];
    const std::vector<std::string_view> texts = entries.entry(entry);
    for (size_t i = 0; i < texts.size(); ++i) {
      std::vector<std::string> words = split(strip_text(std::string(texts[i]) + options.end_of_text));
      check_words(words.size(), fmt::format("entry {}, text {}", entry, i));
      const std::vector<float> weights(words.size(), 1.0F);
      assembler.add(std::move(words), weights);
    }
    texts_taken += texts.size();
  }
  return assembler.finish();
}

StrictItem instruct_item(const InstructDocument& document, const SplitText& split, const StrictItemOptions& options,
                         std::string_view where) {
  std::vector<std::string> words;
  std::vector<float> weights;
  for (const InstructPiece& piece : document) {
    for (std::string& word : split(strip_text(piece.content))) {
      words.push_back(std::move(word));
      weights.push_back(piece.has_loss ? 1.0F : 0.0F);
    }
  }
  check_words(words.size(), where);
  Assembler assembler(options);
  assembler.add(std::move(words), weights);
  return assembler.finish();
}

std::vector<int64_t> segment_boundaries(std::span<const StrictItem> items, bool reset_attention) {
  std::vector<int64_t> boundaries;
  int64_t first = 0;
  for (const StrictItem& item : items) {
    boundaries.push_back(first);
    const size_t length = item.target_is_end.size();
    for (size_t i = 0; reset_attention && i + 1 < length; ++i) {
      if (item.target_is_end[i] != 0) boundaries.push_back(first + static_cast<int64_t>(i) + 1);
    }
    first += static_cast<int64_t>(length);
  }
  boundaries.push_back(first);
  return boundaries;
}

}  // namespace verbatim
