#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "corpus/corpus.h"
#include "corpus/memory_map.h"
#include "formats/pickle.h"
#include "words/dictionary.h"
#include "words/word_counts.h"

namespace verbatim {
namespace {

struct DictionaryFlags {
  std::string action;
  std::vector<std::string> inputs;
  std::filesystem::path out;
  std::string from = "corpus";
  int64_t words = 1'000'000;
  std::optional<int64_t> reduce;
  bool strict = false;
  bool lenient = false;
};

// A dictionary is made of what a model is trained on, so a prepared folder means its training part.
std::unique_ptr<DocumentSource> open_training_documents(const std::string& input) {
  const std::filesystem::path train = std::filesystem::path(input) / "train";
  const bool is_prepared = std::filesystem::is_regular_file(memory_map_file(train, ".meta.json"));
  return open_documents(is_prepared ? input + ":train" : input);
}

WordCounts count_documents(const std::vector<std::string>& inputs, const WordSplitter& splitter) {
  std::vector<std::unique_ptr<DocumentSource>> sources;
  std::vector<std::string_view> documents;
  uint64_t total_bytes = 0;
  for (const std::string& input : inputs) {
    const DocumentSource& source = *sources.emplace_back(open_training_documents(input));
    for (uint64_t i = 0; i < source.document_count(); ++i) documents.push_back(source.document(i));
    total_bytes += source.total_bytes();
  }
  Progress progress({.label = "count words", .unit = "bytes", .total = static_cast<int64_t>(total_bytes)});
  WordCounts words = count_words(documents.size(), [&](uint64_t i) { return documents[i]; }, splitter,
                                 {.progress = [&](uint64_t bytes) {
                                   throw_if_interrupted();
                                   progress.update(static_cast<int64_t>(bytes));
                                 }});
  progress.finish();
  return words;
}

// A collections.Counter (or dict) of words, as Python pickles it; read as data, nothing in it is executed.
WordCounts read_pickled_counter(const std::string& file) {
  const PickleDocument pickle = PickleDocument::open(file);
  const auto* const* counter = std::get_if<const PickleDictionary*>(&pickle.root());
  if (counter == nullptr) throw_input("{}: holds {}, expected a Counter of words", file, type_name(pickle.root()));
  WordCounts words;
  for (const auto& [key, value] : (*counter)->entries) {
    const auto* word = std::get_if<std::string_view>(&key);
    const auto* count = std::get_if<int64_t>(&value);
    if (word == nullptr || count == nullptr) {
      throw_input("{}: entry {} is not a str with an int; expected a Counter of words", file, words.size());
    }
    // As adding Counters does: what is not above 0 vanishes.
    if (*count > 0) words.emplace_back(*word, static_cast<uint64_t>(*count));
  }
  return words;
}

// Numbers of the lines of a file that hold an entry, in order.
std::vector<size_t> entry_lines(const std::string& file) {
  const MappedFile mapped(file);
  const std::string_view bytes = mapped.text();
  std::vector<size_t> lines;
  size_t number = 0;
  for (size_t begin = 0; begin < bytes.size(); ++number) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view line = bytes.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(number + 1);
    begin = end + 1;
  }
  return lines;
}

// Entries that are not exactly one word: the first is an InputError that names its line, or, when they may be left out,
// the first few are warned about.
void check_single_words(const WordCounts& words, const std::string& file, bool has_lines, const WordSplitter& splitter,
                        bool may_be_left_out) {
  constexpr int kMostWarnings = 5;
  Words scratch;
  std::vector<size_t> lines;
  int found = 0;
  for (size_t i = 0; i < words.size() && found < kMostWarnings; ++i) {
    if (is_special_word(words[i].first) || !single_word(words[i].first, splitter, scratch).empty()) continue;
    if (found++ == 0 && has_lines) lines = entry_lines(file);
    scratch.clear();
    splitter.split(words[i].first, scratch);
    const std::string where =
        i < lines.size() ? fmt::format("{}:{}", file, lines[i]) : fmt::format("{}: entry {}", file, i);
    const std::string what = fmt::format("{}: {} is {} words, expected exactly one", where,
                                         quote_bytes(words[i].first, 60), scratch.list.size());
    if (!may_be_left_out) throw_input("{}; correct it, or leave such entries out with --lenient", what);
    spdlog::warn("{}", what);
  }
}

std::vector<WordCounts> read_counters(const DictionaryFlags& flags, const WordSplitter& splitter) {
  if (flags.from == "corpus") return {count_documents(flags.inputs, splitter)};
  std::vector<WordCounts> counters;
  for (const std::string& input : flags.inputs) {
    throw_if_interrupted();
    const bool pickled = flags.from == "counter-pickle";
    if (pickled) {
      counters.push_back(read_pickled_counter(input));
    } else {
      counters.push_back(flags.from == "list" ? read_word_list(input) : Dictionary::load_words(input));
    }
    check_single_words(counters.back(), input, !pickled, splitter, flags.lenient);
  }
  return counters;
}

int run_dictionary(const DictionaryFlags& flags, CommandContext& context) {
  const auto started = std::chrono::steady_clock::now();
  const WordSplitter splitter(flags.strict ? SplitOptions::strict() : SplitOptions{});
  std::vector<WordCounts> counters = read_counters(flags, splitter);
  size_t rejected = 0;
  for (WordCounts& counter : counters) rejected += remove_unusable_words(counter, splitter);
  if (rejected > 0) spdlog::warn("{} entries are not exactly one word and were left out", rejected);

  const auto most_words = static_cast<size_t>(flags.words);
  const std::vector<std::vector<WordCounts>> groups = {std::move(counters)};
  WordCounts words;
  if (flags.strict) {
    words = generate_words(groups, most_words);
    if (flags.reduce) {
      words = reduce_words(words_at_load(std::span(&words, 1)), static_cast<size_t>(*flags.reduce), /*strict=*/true);
    }
  } else {
    const size_t n = std::min(most_words, static_cast<size_t>(flags.reduce.value_or(flags.words)));
    words = reduce_words(generate_words(groups, std::numeric_limits<size_t>::max()), n, /*strict=*/false);
  }
  uint64_t occurrences = 0;
  for (const auto& entry : words) occurrences += entry.second;
  write_file_atomically(flags.out, Dictionary::serialize(words));

  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  context.output.record(Record()
                            .set("out", flags.out.string())
                            .set("words", words.size())
                            .set("occurrences", occurrences)
                            .set("rejected", rejected)
                            .set("seconds", seconds.count()));
  return 0;
}

}  // namespace

CommandDefinition dictionary_command() {
  auto flags = std::make_shared<DictionaryFlags>();
  CommandDefinition command{
      .name = "dictionary",
      .usage = "build INPUT... --out FILE",
      .examples = {{"verbatim dictionary build corpus --words 100000 --out words.jsonl",
                    "the words of a prepared folder's training part"},
                   {"verbatim dictionary build notes/ letters.txt --out words.jsonl", "the words of text files"},
                   {"verbatim dictionary build names.txt --from list --out words.jsonl", "one word per line"},
                   {"verbatim dictionary build a.jsonl b.jsonl --from counter-jsonl --out words.jsonl",
                    "several dictionaries added up"}},
      .notes =
          "The file has one line [word, count] for each word: first the words that stand for blanks, line feeds and "
          "the "
          "parts of a chat, then the others by falling count. What is not exactly one word for the model is refused "
          "with its line, or left out and counted with --lenient. The file appears when everything is written, or not "
          "at all."};
  OptionSet& options = command.options;
  options.positional("ACTION", flags->action, {.help = "what to do", .choices = {"build"}, .required = true});
  options.positional("INPUT", flags->inputs,
                     {.help = "prepared folders, memory maps, text files or folders; or see --from",
                      .completes = Completes::kFile,
                      .required = true});
  options.option("-o,--out", flags->out,
                 {.help = "file to write", .placeholder = "FILE", .completes = Completes::kFile, .required = true});
  options.option("--from", flags->from,
                 {.help = "what the inputs are: text, lines [word, count], one word per line, or Python's Counter",
                  .choices = {"corpus", "counter-jsonl", "list", "counter-pickle"}});
  options.option("--words", flags->words, {.help = "write at most so many words", .placeholder = "N", .minimum = 1});
  options.option(
      "--reduce", flags->reduce,
      {.help = "then keep the N most frequent words; the words for blanks and the like stay, unless --strict",
       .placeholder = "N",
       .minimum = 1});
  options.flag("--lenient", flags->lenient,
               {.help = "leave out entries that are not exactly one word, instead of naming the first and ending"});
  options.flag("--strict", flags->strict, {.help = "cut text and order words exactly as the reference of T-Free does"});
  command.run = [flags](CommandContext& context) { return run_dictionary(*flags, context); };
  return command;
}

}  // namespace verbatim
