// One decode step of T-Free: the scores of all dictionary words and the best of them, beside the plain definition (sum
// over the list of each word's ids) in the same run; composed words; building a dictionary. The words are made up with
// a natural distribution of letters, or one per line of $VERBATIM_BENCH_WORDS.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "words/dictionary.h"
#include "words/dictionary_search.h"
#include "words/trigram_hasher.h"
#include "words/trigram_prior.h"
#include "words/word_byte_model.h"
#include "words/word_composer.h"
#include "words/word_counts.h"
#include "words/word_splitter.h"

namespace verbatim {
namespace {

// The size of the published model.
const TrigramHasher& hasher() {
  static const TrigramHasher instance({.vocabulary = 32000, .ids_per_trigram = 10, .shared_ids = 2});
  return instance;
}

const WordSplitter& splitter() {
  static const WordSplitter instance;
  return instance;
}

// Syllables by Zipf's law: about as many different trigrams for each word as in real lists.
WordCounts made_up_words(size_t n) {
  Random random(1);
  std::vector<std::string> syllables;
  for (size_t i = 0; i < 4000; ++i) {
    std::string& syllable = syllables.emplace_back();
    const uint64_t letters = 2 + random.below(3);
    for (uint64_t k = 0; k < letters; ++k) {
      const bool is_vowel = (k + i) % 2 == 0;
      syllable += is_vowel ? "eaiouy"[random.below(6)] : "tnrshldcmfpgwbvkjxqz"[random.below(20)];
    }
  }
  std::unordered_set<std::string> seen;
  WordCounts words;
  while (words.size() < n) {
    std::string word;
    for (uint64_t left = 1 + random.below(4); left > 0; --left) {
      const double rank = std::exp(random.uniform() * std::log(static_cast<double>(syllables.size())));
      word += syllables[std::min(syllables.size() - 1, static_cast<size_t>(rank))];
    }
    if (random.below(5) == 0) word[0] = static_cast<char>(word[0] - ('a' - 'A'));
    if (seen.insert(word).second) words.emplace_back(word, 1);
  }
  return words;
}

const WordCounts& word_list(size_t n) {
  static std::map<size_t, WordCounts> lists;
  WordCounts& list = lists[n];
  if (list.empty()) {
    const char* path = std::getenv("VERBATIM_BENCH_WORDS");
    list = path != nullptr ? read_word_list(path) : made_up_words(n);
    if (list.size() > n) list.resize(n);
  }
  return list;
}

const Dictionary& dictionary(size_t n) {
  static std::map<size_t, std::unique_ptr<Dictionary>> dictionaries;
  std::unique_ptr<Dictionary>& instance = dictionaries[n];
  if (instance == nullptr) instance = std::make_unique<Dictionary>(word_list(n), hasher(), splitter());
  return *instance;
}

std::vector<float> made_up_logits(size_t batch) {
  Random random(2);
  std::vector<float> logits(batch * hasher().options().vocabulary);
  for (float& logit : logits) logit = static_cast<float>(random.normal() * 2 - 6);
  return logits;
}

void report(benchmark::State& state, const Dictionary& words, size_t steps_each) {
  state.counters["words"] = static_cast<double>(words.size());
  state.counters["rows"] = static_cast<double>(words.distinct_rows());
  state.counters["step"] =
      benchmark::Counter(static_cast<double>(state.iterations() * static_cast<int64_t>(steps_each)),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// What the rows are compared with: every id of every word, without repetitions.
void plain_id_lists(benchmark::State& state) {
  const Dictionary& words = dictionary(static_cast<size_t>(state.range(0)));
  std::vector<uint64_t> begins = {0};
  std::vector<uint32_t> ids;
  std::vector<int32_t> scratch;
  for (size_t i = 0; i < words.size(); ++i) {
    scratch.clear();
    hasher().append_ids(words.word(i), scratch);
    std::sort(scratch.begin(), scratch.end());
    scratch.erase(std::unique(scratch.begin(), scratch.end()), scratch.end());
    ids.insert(ids.end(), scratch.begin(), scratch.end());
    begins.push_back(ids.size());
  }
  const std::vector<float> logits = made_up_logits(1);
  for (auto _ : state) {
    size_t best = 0;
    float best_score = -1e30F;
    for (size_t i = 0; i < words.size(); ++i) {
      float score = 0;
      for (uint64_t k = begins[i]; k < begins[i + 1]; ++k) score += logits[ids[k]];
      if (score > best_score) {
        best_score = score;
        best = i;
      }
    }
    benchmark::DoNotOptimize(best);
  }
  report(state, words, 1);
}
BENCHMARK(plain_id_lists)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void best_words(benchmark::State& state) {
  const Dictionary& words = dictionary(static_cast<size_t>(state.range(0)));
  const auto batch = static_cast<size_t>(state.range(1));
  const ScoreOptions options = {.variant = static_cast<ScoreVariant>(state.range(2))};
  DictionarySearch search(words);
  const std::vector<float> logits = made_up_logits(batch);
  for (auto _ : state) benchmark::DoNotOptimize(search.best_batch(logits, batch, options, 40));
  report(state, words, batch);
}
BENCHMARK(best_words)
    ->ArgNames({"words", "batch", "variant"})
    ->ArgsProduct({{100'000, 1'000'000}, {1, 8}, {2, 3}})
    ->Unit(benchmark::kMillisecond);

void all_scores(benchmark::State& state) {
  const Dictionary& words = dictionary(static_cast<size_t>(state.range(0)));
  DictionarySearch search(words);
  const std::vector<float> logits = made_up_logits(1);
  std::vector<float> scores;
  for (auto _ : state) {
    search.score_all(logits, {}, scores);
    benchmark::DoNotOptimize(scores.data());
  }
  report(state, words, 1);
}
BENCHMARK(all_scores)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

// Logits of a model that is sure of a word.
std::vector<float> logits_of(std::string_view word) {
  std::vector<float> logits = made_up_logits(1);
  std::vector<int32_t> ids;
  hasher().append_ids(word, ids);
  for (const int32_t id : ids) logits[static_cast<size_t>(id)] += 9;
  return logits;
}

void composed_words(benchmark::State& state) {
  const TrigramPrior prior(dictionary(100'000));
  const WordComposer composer(hasher(), splitter(), state.range(0) != 0 ? &prior : nullptr);
  const std::vector<float> logits = logits_of("tenarisolu");
  for (auto _ : state) benchmark::DoNotOptimize(composer.compose(logits, {}));
}
BENCHMARK(composed_words)->ArgName("prior")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void coded_word(benchmark::State& state) {
  const TrigramPrior prior(dictionary(100'000));
  WordByteModel model(hasher(), prior);
  const std::vector<float> logits = logits_of("tenarisolu");
  for (auto _ : state) benchmark::DoNotOptimize(model.log_probability("tenarisolu", logits));
}
BENCHMARK(coded_word)->Unit(benchmark::kMillisecond);

void built_dictionary(benchmark::State& state) {
  const WordCounts& words = word_list(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(Dictionary(words, hasher(), splitter()).size());
}
BENCHMARK(built_dictionary)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace verbatim
