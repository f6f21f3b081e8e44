#include "evaluate/vocabulary.h"

#include <algorithm>
#include <unordered_set>

#include "text/unicode.h"
#include "text/utf8.h"
#include "words/case_mapping.h"

namespace verbatim {

namespace {

struct TextWord {
  size_t begin, end;
  Script script;
};

bool is_space_at(const Utf8Unit& unit) { return unit.code_point.valid && is_space(unit.code_point.value); }

// Runs of characters between white space.
std::vector<TextWord> words_of(std::string_view text) {
  std::vector<TextWord> words;
  size_t begin = std::string_view::npos;
  const auto close = [&](size_t end) {
    if (begin == std::string_view::npos) return;
    words.push_back({begin, end, script_of(text.substr(begin, end - begin))});
    begin = std::string_view::npos;
  };
  for (const Utf8Unit unit : Utf8Units(text)) {
    if (is_space_at(unit)) {
      close(unit.position);
    } else if (begin == std::string_view::npos) {
      begin = unit.position;
    }
  }
  close(text.size());
  return words;
}

uint64_t characters_in(std::string_view text) {
  uint64_t count = 0;
  for ([[maybe_unused]] const Utf8Unit unit : Utf8Units(text)) ++count;
  return count;
}

// U+2581 stands for a blank in SentencePiece's vocabularies.
std::string without_blanks_in_front(std::string_view entry) {
  constexpr std::string_view kBlank = "\xE2\x96\x81";
  while (true) {
    if (entry.starts_with(kBlank)) {
      entry.remove_prefix(kBlank.size());
    } else if (entry.starts_with(' ')) {
      entry.remove_prefix(1);
    } else {
      return std::string(entry);
    }
  }
}

template <class Key>
double repeated_share(const std::vector<std::string>& vocabulary, const Key& key) {
  std::unordered_set<std::string> groups;
  for (const std::string& entry : vocabulary) groups.insert(key(entry));
  return static_cast<double>(vocabulary.size() - groups.size()) / static_cast<double>(vocabulary.size());
}

}  // namespace

FertilityReport measure_fertility(const Segmenter& segmenter, const DocumentSource& documents) {
  FertilityReport report;
  report.scripts.resize(static_cast<size_t>(Script::kCount));
  for (uint64_t d = 0; d < documents.document_count(); ++d) {
    const std::string_view text = documents.document(d);
    const Positions positions = segmenter.segment(text, DocumentPart::kStart);
    const std::vector<TextWord> words = words_of(text);
    report.total.words += words.size();
    report.total.positions += positions.size();
    report.total.bytes += text.size();
    report.total.characters += characters_in(text);
    size_t next = 0;  // first position that is not counted yet
    for (const TextWord& word : words) {
      Fertility& script = report.scripts[static_cast<size_t>(word.script)];
      ++script.words;
      script.bytes += word.end - word.begin;
      script.characters += characters_in(text.substr(word.begin, word.end - word.begin));
      // A position belongs to the word that it ends in; what ends before the word is white space.
      while (next < positions.size() && positions.ends[next] <= word.begin) ++next;
      for (; next < positions.size() && positions.ends[next] <= word.end; ++next) ++script.positions;
    }
  }
  return report;
}

DuplicateReport measure_duplicates(const std::vector<std::string>& vocabulary) {
  DuplicateReport report{.entries = vocabulary.size()};
  if (vocabulary.empty()) return report;
  report.total =
      repeated_share(vocabulary, [](const std::string& e) { return without_blanks_in_front(lower_case(e)); });
  report.capital = repeated_share(vocabulary, [](const std::string& e) { return lower_case(e); });
  report.blank = repeated_share(vocabulary, [](const std::string& e) { return without_blanks_in_front(e); });
  const auto is_number = [](const std::string& e) {
    return e.size() > 1 && std::all_of(e.begin(), e.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  report.digits = static_cast<double>(std::count_if(vocabulary.begin(), vocabulary.end(), is_number)) /
                  static_cast<double>(vocabulary.size());
  return report;
}

}  // namespace verbatim
