// Text to ids: megabytes per second of each tokenizer beside the original SentencePiece library on the same text, and
// the seconds the BPE trainer needs. The text is $VERBATIM_BENCH_TEXT (a file), else made-up words with a natural
// distribution; the SentencePiece model is $VERBATIM_BENCH_MODEL (skipped without it).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "text/utf8.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/bpe_trainer.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/word_splitter.h"

namespace verbatim {
namespace {

// Words drawn by Zipf's law; a third of the vocabulary is outside ASCII.
std::string made_up_text(size_t size) {
  Random random(1);
  std::vector<std::string> words;
  for (int i = 0; i < 60000; ++i) {
    std::string word;
    const bool other_script = i % 3 == 0;
    for (uint64_t n = 1 + random.below(3) + random.below(8); n > 0; --n) {
      append_utf8(word, static_cast<char32_t>(other_script ? 0x430 + random.below(32) : 'a' + random.below(26)));
    }
    words.push_back(word);
  }
  std::string text;
  while (text.size() < size) {
    const double rank = std::exp(random.uniform() * std::log(static_cast<double>(words.size())));
    text += words[std::min(words.size() - 1, static_cast<size_t>(rank))];
    text += random.below(12) == 0 ? ".\n" : " ";
  }
  return text;
}

const std::string& text() {
  static const std::string instance = [] {
    const char* path = std::getenv("VERBATIM_BENCH_TEXT");
    return path != nullptr ? read_file(path) : made_up_text(size_t{8} << 20);
  }();
  return instance;
}

// Documents of about 2 kB, as training reads them.
const std::vector<std::string_view>& documents() {
  static const std::vector<std::string_view> instance = [] {
    std::vector<std::string_view> list;
    const std::string_view all = text();
    for (size_t begin = 0; begin < all.size();) {
      const size_t end = utf8_boundary_before(all, std::min(all.size(), begin + 2048));
      list.push_back(all.substr(begin, end - begin));
      begin = end;
    }
    return list;
  }();
  return instance;
}

std::shared_ptr<const Tokenizer> sentencepiece() {
  const char* path = std::getenv("VERBATIM_BENCH_MODEL");
  return path != nullptr ? Tokenizer::open(path) : nullptr;
}

const BpeTokenizer& byte_level() {
  static const BpeTokenizer instance(
      train_bpe({.vocabulary_size = 8192}, documents().size(), [](uint64_t i) { return documents()[i]; }), "trained");
  return instance;
}

template <class Encode>
void run(benchmark::State& state, const Encode& encode) {
  int64_t bytes = 0;
  int64_t ids = 0;
  size_t next = 0;
  for (auto _ : state) {
    const std::string_view document = documents()[next++ % documents().size()];
    ids += static_cast<int64_t>(encode(document));
    bytes += static_cast<int64_t>(document.size());
  }
  state.SetBytesProcessed(bytes);
  state.counters["bytes_per_id"] = static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(ids, 1));
}

void sentencepiece_library(benchmark::State& state) {
  const auto tokenizer = sentencepiece();
  if (!tokenizer) return state.SkipWithError("VERBATIM_BENCH_MODEL is not set");
  run(state, [&](std::string_view document) { return tokenizer->encode_like_original(document).size(); });
}
BENCHMARK(sentencepiece_library)->MinTime(2);

void sentencepiece_word_by_word(benchmark::State& state) {
  const auto tokenizer = sentencepiece();
  if (!tokenizer) return state.SkipWithError("VERBATIM_BENCH_MODEL is not set");
  run(state, [&](std::string_view document) { return tokenizer->encode(document).ids.size(); });
}
BENCHMARK(sentencepiece_word_by_word)->MinTime(2);

void byte_level_bpe(benchmark::State& state) {
  const BpeTokenizer& tokenizer = byte_level();
  run(state, [&](std::string_view document) { return tokenizer.encode(document).ids.size(); });
}
BENCHMARK(byte_level_bpe)->MinTime(2);

void split_into_words(benchmark::State& state) {
  run(state, [&](std::string_view document) {
    size_t words = 0;
    for (size_t begin = 0; begin < document.size(); ++words) begin = word_end(WordPattern::kLlama3, document, begin);
    return words;
  });
}
BENCHMARK(split_into_words);

void validate(benchmark::State& state) {
  run(state, [](std::string_view document) { return static_cast<size_t>(is_valid_utf8(document)); });
}
BENCHMARK(validate);

void train_8192_tokens(benchmark::State& state) {
  for (auto _ : state) {
    const std::string json = train_bpe({.vocabulary_size = 8192, .num_threads = static_cast<unsigned>(state.range(0))},
                                       documents().size(), [](uint64_t i) { return documents()[i]; });
    benchmark::DoNotOptimize(json.size());
  }
  state.SetBytesProcessed(static_cast<int64_t>(text().size()) * state.iterations());
}
BENCHMARK(train_8192_tokens)->Arg(1)->Arg(2)->Iterations(1)->UseRealTime()->Unit(benchmark::kSecond);

}  // namespace
}  // namespace verbatim
