#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/bench.h"
#include "cli/interruption.h"
#include "text/utf8.h"
#include "tokenizers/sentencepiece_library.h"
#include "tokenizers/tokenizer.h"
#include "words/trigram_hasher.h"
#include "words/word_splitter.h"

namespace verbatim {
namespace {

constexpr size_t kTextBytes = size_t{8} << 20;
constexpr size_t kDocumentBytes = 4096;

// Made-up words drawn by Zipf's law, with capitals, commas, digits and lines; mixed: half of them outside ASCII.
std::string made_up_text(bool mixed) {
  Random random(1);
  std::vector<std::string> words(40000);
  for (size_t i = 0; i < words.size(); ++i) {
    const bool other_script = mixed && i % 2 == 1;
    for (uint64_t n = 1 + random.below(3) + random.below(8); n > 0; --n) {
      append_utf8(words[i], static_cast<char32_t>(other_script ? (i % 4 == 1 ? 0x430 + random.below(32)     // Cyrillic
                                                                             : 0x4E00 + random.below(999))  // Han
                                                               : 'a' + random.below(26)));
    }
    if (i % 10 == 0 && !other_script) words[i].front() = static_cast<char>(words[i].front() - 'a' + 'A');
    if (i % 100 == 50) words[i] = std::to_string(random.below(2000));
  }
  std::string text;
  while (text.size() < kTextBytes) {
    const double rank = std::exp(random.uniform() * std::log(static_cast<double>(words.size())));
    text += words[std::min(words.size() - 1, static_cast<size_t>(rank))];
    const uint64_t mark = random.below(40);
    text += mark == 0 ? ".\n" : mark < 3 ? ". " : mark < 5 ? ", " : " ";
  }
  return text;
}

std::vector<std::string_view> cut_documents(std::string_view text) {
  std::vector<std::string_view> documents;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = utf8_boundary_after(text, std::min(text.size(), begin + kDocumentBytes));
    documents.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return documents;
}

// The median of at least five runs within about `seconds`, after one run that fills tables. Processor time, since one
// thread works and other programs share the machine.
double median_seconds(double seconds, const std::function<void()>& run) {
  run();
  std::vector<double> times;
  double spent = 0;
  while (times.size() < 5 || (spent < seconds && times.size() < 100)) {
    throw_if_interrupted();
    const std::clock_t start = std::clock();
    run();
    times.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    spent += times.back();
  }
  std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2), times.end());
  return std::max(times[times.size() / 2], 1e-9);
}

// Bytes per second of one thread that reads memory far larger than the caches.
double read_rate(double seconds) {
  const std::vector<uint64_t> memory(size_t{1} << 25, 1);
  volatile uint64_t sum = 0;
  const double took =
      median_seconds(seconds, [&] { sum = std::accumulate(memory.begin(), memory.end(), uint64_t{0}); });
  return static_cast<double>(memory.size() * sizeof(uint64_t)) / took;
}

struct Measurement {
  std::string text;
  std::vector<std::string_view> documents;
  double seconds = 0;
  double memory = 0;  // bytes per second
  std::string prefix;
  std::vector<BenchFigure>* figures = nullptr;

  [[nodiscard]] double rate(const std::function<void(std::string_view)>& encode) const {
    const double took = median_seconds(seconds, [&] {
      for (const std::string_view document : documents) encode(document);
    });
    return static_cast<double>(text.size()) / took;
  }
  void add(std::string_view what, double value, std::string_view reference, double reference_value) const {
    figures->push_back(
        {fmt::format("{}: {}", prefix, what), value / 1e6, "MB/s", std::string(reference), value / reference_value});
  }
};

void measure_words(const Measurement& measurement, bool strict, double library) {
  const WordSplitter splitter(strict ? SplitOptions::strict() : SplitOptions{});
  const TrigramHasher hasher({.vocabulary = 32000, .strict = strict});
  const std::string name = strict ? "T-Free strict" : "T-Free improved";
  Words words;
  IdLists lists;
  std::vector<int32_t> ids;
  const double split = measurement.rate([&](std::string_view document) {
    words.clear();
    splitter.split(document, words);
  });
  measurement.add(name + ", words", split, "reading memory", measurement.memory);
  const double views = measurement.rate([&](std::string_view document) {
    words.clear();
    lists.clear();
    splitter.split(document, words);
    hasher.append_lists(words.list, lists);
  });
  measurement.add(name + ", ids as views", views, "reading memory", measurement.memory);
  if (library > 0) measurement.add(name + ", the same", views, "the SentencePiece library", library);
  const double copied = measurement.rate([&](std::string_view document) {
    words.clear();
    ids.clear();
    splitter.split(document, words);
    for (const Word& word : words.list) hasher.append_ids(word.text, ids);
  });
  measurement.add(name + ", all ids copied", copied, "ids as views", views);
}

void measure_text(Measurement& measurement, const std::filesystem::path& tokenizer_file) {
  measurement.documents = cut_documents(measurement.text);
  double library_rate = 0;
  if (!tokenizer_file.empty()) {
    const std::unique_ptr<SentencepieceLibrary> library = SentencepieceLibrary::make();
    const std::string mistake = library->load(read_file(tokenizer_file));
    if (!mistake.empty()) throw_input("{}: no SentencePiece model: {}", tokenizer_file.string(), mistake);
    std::vector<int> ids;
    library_rate = measurement.rate([&](std::string_view document) {
      const std::string failure = library->encode(document, ids);
      if (!failure.empty()) throw_input("the SentencePiece library: {}", failure);
    });
    measurement.add("SentencePiece library, ids", library_rate, "reading memory", measurement.memory);
    const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::open(tokenizer_file);
    const double ours = measurement.rate([&](std::string_view document) { (void)tokenizer->encode(document); });
    measurement.add("SentencePiece, ours, ids and ends", ours, "the SentencePiece library", library_rate);
  }
  for (const bool strict : {false, true}) measure_words(measurement, strict, library_rate);
}

}  // namespace

// What each figure delivers: "words", the list of words with their ends; "ids as views", for each word a view (address
// and length) of its ids in the table of words seen before, as a kernel that sums rows reads them; "all ids copied",
// one vector of all ids of a document, about nine for each byte of text. Tables are filled by a first run.
std::vector<BenchFigure> bench_encode(const BenchOptions& options) {
  std::vector<BenchFigure> figures;
  Measurement measurement;
  measurement.seconds = options.seconds;
  measurement.figures = &figures;
  measurement.memory = read_rate(options.seconds);
  figures.push_back({"reading memory, one thread", measurement.memory / 1e6, "MB/s", "", 0});
  if (!options.model.empty()) {
    measurement.prefix = options.model.filename().string();
    measurement.text = read_file(options.model);
    if (measurement.text.empty()) throw_input("{}: an empty file has nothing to encode", options.model.string());
    measure_text(measurement, options.tokenizer);
    return figures;
  }
  for (const bool mixed : {false, true}) {
    measurement.prefix = mixed ? "mixed" : "ASCII";
    measurement.text = made_up_text(mixed);
    measure_text(measurement, options.tokenizer);
  }
  return figures;
}

}  // namespace verbatim
