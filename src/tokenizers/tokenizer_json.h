#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/unicode.h"
#include "tokenizers/pre_tokenizer.h"

namespace verbatim {

// What a tokenizer.json says, checked and free of JSON.
// Goals: byte-level and SentencePiece-like BPE as the field publishes them. Non-goals: WordPiece, Unigram, and
// components that lose text (lower case, accent stripping); they are refused by name, never skipped.
struct TokenizerJson {
  struct AddedToken {
    int32_t id = 0;
    std::string content;
    bool special = false;
    bool single_word = false;
    bool lstrip = false;
    bool rstrip = false;
    bool normalized = true;
  };
  struct Merge {
    int32_t left = 0;
    int32_t right = 0;
    int32_t result = 0;
  };
  // When a text gets a space in front.
  enum class PrefixSpace { kNever, kFirst, kAlways };

  std::vector<AddedToken> added_tokens;
  std::vector<NormalForm> normal_forms;      // in the order of the file
  bool spaces_marked_by_normalizer = false;  // Replace " " by U+2581
  bool prefix_by_normalizer = false;         // Prepend U+2581
  PreTokenizer pre_tokenizer;
  bool byte_level = false;
  bool marks_spaces = false;                            // by the normalizer or by Metaspace
  PrefixSpace byte_level_prefix = PrefixSpace::kNever;  // ByteLevel, add_prefix_space
  PrefixSpace metaspace_prefix = PrefixSpace::kNever;
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // pieces as spelled in the file
  std::vector<Merge> merges;                                // in the order of their rank
  std::optional<std::string> unknown_token;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
  std::string begin_token;      // first special token of the post-processor's template, or empty
  std::string end_token;        // the special token behind the text there, or empty
  int32_t vocabulary_size = 0;  // largest id + 1

  // Throws InputError that begins with `where`.
  [[nodiscard]] static TokenizerJson parse(std::string_view text, std::string_view where);
};

}  // namespace verbatim
