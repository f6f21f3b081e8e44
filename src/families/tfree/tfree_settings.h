#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "settings/visitor.h"
#include "words/trigram_hasher.h"
#include "words/word_splitter.h"

namespace verbatim {

// Words of the document's edges and of chats (T-Free specification, section 1.7).
inline constexpr const char* kEndOfText = "<|endoftext|>";

struct TfreeEncoderSettings : Settings {
  std::string mode = "improved";  // "strict": the reference's rules, exactly
  int64_t vocabulary = 8192;
  int64_t ids_per_trigram = 10;
  int64_t shared_ids = 2;
  bool whole_words = false;
  bool lowercase = false;
  // improved only
  bool keep_marks = true;
  bool cut_blankless = true;
  int64_t longest_word = 64;
  std::vector<std::string> special_words;
  std::string aggregation = "sum";
  bool normalize = false;
  std::string init = "scaled";
  double init_gain = 1;  // of init "normal"
  int64_t trained_words = 0;
  std::string start_word = kEndOfText;
  std::string end_word = kEndOfText;

  void visit(SettingsVisitor& visitor) override;
  // Throws InputError for numbers that do not fit together.
  void validate() const;
  [[nodiscard]] SplitOptions split_options() const;
  [[nodiscard]] TrigramOptions trigram_options() const;
};

struct TfreeDecoderSettings : Settings {
  std::string loss = "multi-label";
  double positive_weight = 100;
  double loss_scale = 100;
  double edge_weight = 1;
  std::string dictionary = "auto";
  int64_t dictionary_words = 65536;
  std::string variant = "likelihood";
  bool compose = true;
  double spelling_weight = 0.1;
  bool calibrate = true;

  void visit(SettingsVisitor& visitor) override;
};

}  // namespace verbatim
