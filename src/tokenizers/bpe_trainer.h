#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tokenizers/word_splitter.h"

namespace verbatim {

struct BpeTrainerOptions {
  int64_t vocabulary_size = 8192;  // all tokens: 256 bytes, merges, and the end-of-text symbol; at least 257
  int64_t min_count = 2;           // a pair that occurs less often is not merged
  WordPattern pattern = WordPattern::kLlama3;
  size_t max_token_bytes = 64;                // longer tokens are not made
  std::string end_of_text = "<|endoftext|>";  // the last id; never recognised in plain text
  unsigned num_threads = 0;                   // of train_bpe's counting; 0: one per processor
};

// Learns a byte-level BPE vocabulary and writes it as a tokenizer.json of the common kind.
// Ids: 0 to 255 are the bytes, then the merges in the order they were learned, the end-of-text symbol last.
// Each merge takes the pair of neighbours that occurs most often inside the words; of equally frequent pairs the one
// whose (left bytes, right bytes) come first in byte order. The result depends on the multiset of words only: not on
// the order of the documents and not on threads.
class BpeTrainer {
 public:
  // Throws InputError for a vocabulary size that cannot be.
  explicit BpeTrainer(BpeTrainerOptions options);
  ~BpeTrainer();

  // Counts the words of a document (any bytes). Thread safe; calls of different threads do not wait for each other.
  // Needs memory for the distinct words. A word of more than 1024 bytes is counted in parts.
  void add(std::string_view document);

  // Learns from all documents added so far and returns the text of a tokenizer.json. A small text gives a smaller
  // vocabulary than asked for. Must not run at the same time as add().
  // `progress` is called now and then with the tokens learned so far.
  [[nodiscard]] std::string train(const std::function<void(int64_t)>& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// BpeTrainer over documents 0 to num_documents - 1 on several threads; `document(i)` must be thread safe and its result
// valid until the next call from the same thread.
[[nodiscard]] std::string train_bpe(const BpeTrainerOptions& options, uint64_t num_documents,
                                    const std::function<std::string_view(uint64_t)>& document);

}  // namespace verbatim
