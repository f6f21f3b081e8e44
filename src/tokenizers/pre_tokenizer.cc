#include "tokenizers/pre_tokenizer.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

struct Section {
  size_t begin;
  size_t end;
  bool is_match;
};

std::vector<Section> sections_of(const SplitStage& stage, std::string_view text) {
  std::vector<Section> sections;
  size_t covered = 0;
  const auto add_match = [&](size_t begin, size_t end) {
    if (begin > covered) sections.push_back({covered, begin, stage.invert});
    sections.push_back({begin, end, !stage.invert});
    covered = end;
  };
  switch (stage.kind) {
    case SplitStage::Kind::kRegex:
      for (const Regex::Match& match : stage.regex->find_all(text)) add_match(match.begin, match.end);
      break;
    case SplitStage::Kind::kLiteral:
      for (size_t begin = text.find(stage.literal); begin != std::string_view::npos;
           begin = text.find(stage.literal, covered)) {
        add_match(begin, begin + stage.literal.size());
      }
      break;
    default:
      for (const Utf8Unit& unit : Utf8Units(text)) {
        if (!unit.code_point.valid || !is_number(unit.code_point.value)) continue;
        const size_t end = unit.position + unit.code_point.size;
        const bool continues_run = stage.kind == SplitStage::Kind::kDigits && !sections.empty() &&
                                   sections.back().is_match != stage.invert && sections.back().end == unit.position;
        if (continues_run) {
          sections.back().end = covered = end;
        } else {
          add_match(unit.position, end);
        }
      }
  }
  if (covered < text.size()) sections.push_back({covered, text.size(), stage.invert});
  return sections;
}

}  // namespace

std::vector<PreTokenizer::Piece> PreTokenizer::pieces_of(const SplitStage& stage, std::string_view text,
                                                         Removal removal) {
  const std::vector<Section> sections = sections_of(stage, text);
  std::vector<Piece> pieces;
  pieces.reserve(sections.size());
  bool previous_was_match = false;
  bool glue = false;  // kMergedWithNext: a match waits for what follows it
  for (const Section& section : sections) {
    switch (stage.behavior) {
      case SplitBehavior::kRemoved:
        if (!section.is_match || removal == Removal::kKeep) pieces.push_back({section.begin, section.end});
        break;
      case SplitBehavior::kIsolated:
        pieces.push_back({section.begin, section.end});
        break;
      case SplitBehavior::kContiguous:
        if (!pieces.empty() && section.is_match == previous_was_match) {
          pieces.back().end = section.end;
        } else {
          pieces.push_back({section.begin, section.end});
        }
        break;
      case SplitBehavior::kMergedWithPrevious:
        if (section.is_match && !previous_was_match && !pieces.empty()) {
          pieces.back().end = section.end;
        } else {
          pieces.push_back({section.begin, section.end});
        }
        break;
      case SplitBehavior::kMergedWithNext:
        if (glue && !section.is_match) {
          pieces.back().end = section.end;
        } else {
          pieces.push_back({section.begin, section.end});
        }
        glue = section.is_match;
        break;
    }
    previous_was_match = section.is_match;
  }
  return pieces;
}

}  // namespace verbatim
