#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "words/dictionary.h"
#include "words/word_splitter.h"

// Lists of words with counts: where they come from and how they become the list of a dictionary (T-Free specification,
// section 8.3).

namespace verbatim {

// The 16 words that stand for blanks, line feeds and the parts of a chat, in the reference's order.
[[nodiscard]] std::span<const std::string_view> special_words();
[[nodiscard]] bool is_special_word(std::string_view word);

// The word that an entry of a dictionary is: the text that the splitter makes of it, or nothing when that is not
// exactly one word. The 16 special words and those of the splitter's options stand for themselves. The view points into
// `entry` or into `scratch`.
[[nodiscard]] std::string_view single_word(std::string_view entry, const WordSplitter& splitter, Words& scratch);

// Takes out the entries that are not exactly one word; returns how many they were.
size_t remove_unusable_words(WordCounts& words, const WordSplitter& splitter);

// Adds counters up: words in the order of their first occurrence, those that come to 0 left out.
[[nodiscard]] WordCounts add_counters(std::span<const WordCounts> counters);

// The list that the reference makes of counters when it loads a tokenizer: their sum, the first 12 special words added
// with a count of 0 where they are missing, by falling count; equal counts keep their order.
[[nodiscard]] WordCounts words_at_load(std::span<const WordCounts> counters);

// The list that the reference's dictionary script writes: the 16 special words with their counts, then the others by
// falling count, at most `limit` words together. Each group is a list of counters that belong together; the lists of
// several groups are interleaved, the longest first (of equally long ones the later group first, as the reference
// does), words that came before skipped. The counts are those of all groups together.
[[nodiscard]] WordCounts generate_words(std::span<const std::vector<WordCounts>> groups, size_t limit = 1'000'000);

// Keeps the first n words. Words of the form `<|...|>` stay whatever their place, and the others that fit; `strict`
// cuts them off like any other word, as the reference does.
[[nodiscard]] WordCounts reduce_words(WordCounts words, size_t n, bool strict);

// One word per line, each with the count 1; empty lines are skipped, a carriage return at the end of a line is removed.
// Throws InputError when the file cannot be read.
[[nodiscard]] WordCounts read_word_list(const std::filesystem::path& file);

struct CountOptions {
  unsigned num_threads = 0;  // 0: one per processor
  // Called by the calling thread with the bytes counted so far; may throw to stop.
  std::function<void(uint64_t)> progress;
};

// Counts the words of documents 0 to num_documents - 1, by falling count, equal ones in the order of their bytes: the
// result does not depend on threads. `document(i)` must be thread safe and its result valid as long as the call.
// `<|endoftext|>` is counted once for each document. Long documents are counted in stretches cut at line feeds, so a
// run of line feeds that lies across a cut is counted as two.
[[nodiscard]] WordCounts count_words(uint64_t num_documents, const std::function<std::string_view(uint64_t)>& document,
                                     const WordSplitter& splitter, const CountOptions& options = {});

}  // namespace verbatim
