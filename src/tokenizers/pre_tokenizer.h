#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizers/piece_spelling.h"
#include "tokenizers/regex.h"
#include "tokenizers/word_splitter.h"

namespace verbatim {

// What happens to the matches of a Split stage (the names are those of tokenizer.json).
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// One step of cutting text into words: exactly one of the kinds.
struct SplitStage {
  enum class Kind {
    kWords,      // a known pattern, run by hand; every text is cut without rest
    kRegex,      // matches of `regex`
    kLiteral,    // matches of `literal`
    kDigits,     // runs of numeric characters
    kDigit,      // single numeric characters
    kMetaspace,  // spaces become U+2581, and with `split` each one begins a word
  };
  Kind kind = Kind::kWords;
  WordPattern pattern = WordPattern::kGpt2;
  std::shared_ptr<const Regex> regex = nullptr;
  std::string literal = {};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between the matches counts as match and the other way round
  bool split = true;    // kMetaspace
};

// Cuts text into words by stages, each one applied to the pieces of the one before. The words put together are the text
// (with U+2581 for spaces behind a kMetaspace stage).
class PreTokenizer {
 public:
  // Whether a Split stage of kind "Removed" really drops its matches, as the original library does, or keeps them as
  // words.
  enum class Removal { kKeep, kDrop };

  void add(SplitStage stage) { stages_.push_back(std::move(stage)); }
  [[nodiscard]] const std::vector<SplitStage>& stages() const { return stages_; }

  // Calls sink(std::string_view word) for every word, in order.
  template <class Sink>
  void split(std::string_view text, Removal removal, Sink&& sink) const {
    split_from(0, text, removal, sink);
  }

 private:
  struct Piece {
    size_t begin;
    size_t end;
  };
  // The pieces of stages other than kWords and kMetaspace.
  [[nodiscard]] static std::vector<Piece> pieces_of(const SplitStage& stage, std::string_view text, Removal removal);

  template <class Sink>
  void split_from(size_t index, std::string_view text, Removal removal, Sink& sink) const {
    if (text.empty()) return;
    if (index == stages_.size()) {
      sink(text);
      return;
    }
    const SplitStage& stage = stages_[index];
    switch (stage.kind) {
      case SplitStage::Kind::kWords:
        for (size_t begin = 0; begin < text.size();) {
          const size_t end = word_end(stage.pattern, text, begin);
          split_from(index + 1, text.substr(begin, end - begin), removal, sink);
          begin = end;
        }
        return;
      case SplitStage::Kind::kMetaspace: {
        const std::string marked = marks_for_spaces(text);
        if (!stage.split) {
          split_from(index + 1, marked, removal, sink);
          return;
        }
        const std::string_view view = marked;
        for (size_t begin = 0; begin < view.size();) {
          const size_t end = std::min(view.find(kSpaceMark, begin + 1), view.size());
          split_from(index + 1, view.substr(begin, end - begin), removal, sink);
          begin = end;
        }
        return;
      }
      default:
        for (const Piece& piece : pieces_of(stage, text, removal)) {
          split_from(index + 1, text.substr(piece.begin, piece.end - piece.begin), removal, sink);
        }
    }
  }

  std::vector<SplitStage> stages_;
};

}  // namespace verbatim
