#include "families/tfree/tfree_segmenter.h"

#include "base/error.h"

namespace verbatim {

namespace {

constexpr std::string_view kNoBlank = "<|no_ws|>";
// Stands for an unknown word on the left: a word of its own beside anything, and blanks are implied behind it.
constexpr std::string_view kUnknownWord = ")";

void add(Positions& positions, std::string_view word, uint32_t end) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(word.data());
  positions.ids.insert(positions.ids.end(), bytes, bytes + word.size());
  positions.id_offsets.push_back(static_cast<uint32_t>(positions.ids.size()));
  positions.ends.push_back(end);
}

}  // namespace

TfreeSegmenter::TfreeSegmenter(SplitOptions options, std::string start_word, std::string end_word)
    : splitter_(std::move(options)), start_word_(std::move(start_word)), end_word_(std::move(end_word)) {}

Positions TfreeSegmenter::segment(std::string_view text, DocumentPart part) const {
  // Offsets of bytes and of ids (more than the bytes, since markers are long) are 32 bits wide.
  constexpr size_t kLongest = size_t{1} << 28;
  if (text.size() > kLongest) throw_input("a text of {} bytes is too long to be segmented at once", text.size());
  Positions positions;
  positions.id_offsets.push_back(0);
  if (text.empty()) return positions;
  Words words;
  if (part == DocumentPart::kLater) {
    std::string with_context(kUnknownWord);
    with_context += text;
    splitter_.split(with_context, words);
    if (!words.list.empty() && words.list.front().end == kUnknownWord.size()) {
      for (size_t i = 1; i < words.list.size(); ++i) {
        add(positions, words.list[i].text, words.list[i].end - static_cast<uint32_t>(kUnknownWord.size()));
      }
      return positions;
    }
    // The text's first character belongs to what stands before it (a combining mark).
    words.clear();
    add(positions, kNoBlank, 0);
  }
  splitter_.split(text, words);
  for (const Word& word : words.list) add(positions, word.text, word.end);
  return positions;
}

std::string TfreeSegmenter::bytes_of(const std::vector<int32_t>& ids, const std::vector<int32_t>* previous) const {
  std::string bytes;
  const std::string word = word_of_ids(ids.data(), ids.size());
  if (previous == nullptr) {
    splitter_.append_bytes({}, word, bytes);
  } else if (previous->empty()) {
    splitter_.append_bytes(kUnknownWord, word, bytes);
  } else {
    splitter_.append_bytes(word_of_ids(previous->data(), previous->size()), word, bytes);
  }
  return bytes;
}

std::vector<int32_t> TfreeSegmenter::ids_of_word(std::string_view word) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(word.data());
  return {bytes, bytes + word.size()};
}

std::string TfreeSegmenter::word_of_ids(const int32_t* ids, size_t count) {
  std::string word(count, 0);
  for (size_t i = 0; i < count; ++i) word[i] = static_cast<char>(ids[i]);
  return word;
}

}  // namespace verbatim
