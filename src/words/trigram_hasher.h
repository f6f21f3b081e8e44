#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "words/word_splitter.h"

namespace verbatim {

class TrigramTable;

// How words become sets of ids (T-Free specification, section 2).
struct TrigramOptions {
  uint32_t vocabulary = 8192;     // V: ids are in [0, V)
  uint32_t ids_per_trigram = 10;  // m
  uint32_t shared_ids = 2;        // k: how many of the m a trigram shares with its lower-case form
  bool whole_words = false;       // one row for each word instead of one for each trigram
  // Strict: only ASCII letters share, the k largest ids of the row do, and a row can hold an id twice (section 2.3).
  // Improved: every character shares whose case folding has as many bytes, the shared ids are spread over the row, and
  // the ids of a row are distinct.
  bool strict = false;
  uint64_t cache_bytes = uint64_t{128} << 20;  // for the ids of words seen before; 0: none
};

// The rows of one word: `row_keys.size()` rows of ids_per_trigram ids each.
struct WordRows {
  std::vector<uint64_t> row_keys;  // [T] equal keys mean equal rows, in all words
  std::vector<int32_t> ids;        // [T * m], row after row, in stored order
  std::vector<uint8_t> edge;       // [T] 1: the trigram begins or ends with a blank byte
  void clear();
};

// The ids of several words: views into the hasher's table of words seen before, or into blocks of this object. They are
// valid as long as the hasher and this object are, until clear(). Nothing is copied for a word that was seen before.
class IdLists {
 public:
  std::vector<std::span<const int32_t>> list;

  // Forgets the lists; their memory is used again.
  void clear();
  // Room for `count` ids that stays where it is.
  [[nodiscard]] std::span<int32_t> allocate(size_t count);

 private:
  struct Block {
    std::unique_ptr<int32_t[]> ids;
    size_t size = 0;
  };
  std::vector<Block> blocks_;
  size_t block_ = 0;  // in use
  size_t used_ = 0;   // ids of it
};

// Hashes words. Rows are computed on first use (MD5) and kept; thread safe; calls on different words run in parallel.
//
// A word that contains "<|" (a marker or a special word), or every word with `whole_words`, has one row of its own
// (section 2.4).
class TrigramHasher {
 public:
  // Throws InputError for options that no row can meet: V of 0 or above 2^31 - 1, m of 0 or above V, k above m.
  // `table`: where rows are read instead of computed. Throws InputError when it has another size.
  explicit TrigramHasher(TrigramOptions options, std::shared_ptr<const TrigramTable> table = nullptr);
  ~TrigramHasher();

  // Replaces `out`. The trigrams come in the order of their first occurrence. Throws InputError for an empty word.
  void hash(std::string_view word, WordRows& out) const;
  // Appends the ids of a word, with repetitions (what the embedding sums), and nothing else.
  void append_ids(std::string_view word, std::vector<int32_t>& ids) const;
  // The list of ids of each word, appended in order; the same ids as append_ids. The fastest way from text to ids.
  void append_lists(std::span<const Word> words, IdLists& out) const;
  // The row of a trigram (the number of its three bytes as they stand in the blank-wrapped word, first byte least
  // significant) whose case-folded form is `folded`. Valid as long as the hasher.
  [[nodiscard]] std::span<const int32_t> row(uint32_t trigram, uint32_t folded) const;
  [[nodiscard]] const TrigramOptions& options() const { return options_; }

 private:
  struct Impl;
  TrigramOptions options_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace verbatim
