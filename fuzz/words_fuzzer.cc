// Any bytes as text: T-Free's improved words give it back word for word, the strict ones without literal markers; every
// word has rows, and the same ones each time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "words/trigram_hasher.h"
#include "words/word_splitter.h"

namespace {

using namespace verbatim;

void need(bool condition) {
  if (!condition) std::abort();
}

void check_words(const WordSplitter& splitter, std::string_view text, const Words& words, bool survives) {
  size_t begin = 0;
  std::string_view previous;
  std::string bytes;
  for (const Word& word : words.list) {
    need(!word.text.empty() && word.end >= begin && word.end <= text.size());
    bytes.clear();
    splitter.append_bytes(previous, word.text, bytes);
    if (survives) need(bytes == text.substr(begin, word.end - begin));
    previous = word.text;
    begin = word.end;
  }
  need(begin == text.size());
}

// With little room for words, so that some are kept and others computed each time.
void check_ids(const TrigramHasher& hasher, const Words& words) {
  IdLists lists;
  hasher.append_lists(words.list, lists);
  need(lists.list.size() == words.list.size());
  std::vector<int32_t> ids;
  WordRows rows;
  for (size_t i = 0; i < words.list.size(); ++i) {
    ids.clear();
    hasher.append_ids(words.list[i].text, ids);
    hasher.hash(words.list[i].text, rows);
    need(!ids.empty() && ids == rows.ids &&
         std::equal(ids.begin(), ids.end(), lists.list[i].begin(), lists.list[i].end()));
    need(rows.edge.size() == rows.row_keys.size());
    need(ids.size() == rows.row_keys.size() * hasher.options().ids_per_trigram);
    for (const int32_t id : ids) need(id >= 0 && static_cast<uint32_t>(id) < hasher.options().vocabulary);
  }
}

}  // namespace

// The first byte chooses switches.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const WordSplitter strict_splitter(SplitOptions::strict());
  static const TrigramHasher strict_hasher({.vocabulary = 32000, .strict = true, .cache_bytes = 1 << 16});
  static const TrigramHasher hasher({.vocabulary = 12, .ids_per_trigram = 10, .shared_ids = 4, .cache_bytes = 1 << 16});
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);

  SplitOptions options;
  options.keep_marks = (data[0] & 1) == 0;
  options.cut_blankless = (data[0] & 2) == 0;
  options.wide_sets = (data[0] & 4) == 0;
  if ((data[0] & 8) != 0) options.longest_word = data[0] >> 4;
  if ((data[0] & 16) != 0) options.special_words = {"<|endoftext|>", "ab", " c"};
  const WordSplitter splitter(options);
  Words words;
  splitter.split(text, words);
  check_words(splitter, text, words, /*survives=*/true);
  check_ids(hasher, words);

  words.clear();
  strict_splitter.split(text, words);
  check_words(strict_splitter, text, words, text.find("<|") == std::string_view::npos);
  check_ids(strict_hasher, words);

  options.lowercase = true;
  words.clear();
  const WordSplitter lowering(options);
  lowering.split(text, words);
  check_words(lowering, text, words, /*survives=*/false);
  return 0;
}
