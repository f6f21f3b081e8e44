#include "words/dictionary_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "formats/safetensors.h"
#include "text/utf8.h"
#include "words/reference/plain_dictionary.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;
const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree";
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr ScoreVariant kVariants[] = {ScoreVariant::kFirst, ScoreVariant::kCurrent, ScoreVariant::kLogLikelihood};

WordCounts counted(const std::vector<std::string>& words) {
  WordCounts list;
  for (const std::string& word : words) list.emplace_back(word, 1);
  return list;
}

// Compares with decode.json: logarithms of the softmax over all words, the best word, its score.
void expect_golden(DictionarySearch& search, const Dictionary& words, const Json& golden, std::span<const float> logits,
                   ScoreVariant variant) {
  ScoreOptions options = {.variant = variant, .edge_weight = golden.value("edge_weight", 1.0F)};
  std::vector<size_t> black_list;
  for (const Json& word : golden.value("blacklist", Json::array())) {
    black_list.push_back(static_cast<size_t>(words.find(word.get<std::string>())));
  }
  std::vector<float> scores;
  search.score_all(logits, options, scores);
  // The reference takes the softmax over all words and then leaves the listed ones out.
  std::vector<float> log_probabilities = scores;
  log_softmax(log_probabilities);
  options.black_list = black_list;
  const std::vector<ScoredWord> best = search.best(logits, options, 1);
  ASSERT_EQ(best.size(), 1U);
  EXPECT_EQ(words.word(best[0].index), golden["argmax"].get<std::string>());
  EXPECT_NEAR(std::exp(log_probabilities[best[0].index]), golden["argmax_prob"].get<double>(), 1e-6);
  if (golden.contains("argmax_raw_score")) {
    EXPECT_NEAR(best[0].score, golden["argmax_raw_score"].get<double>(), 1e-5);
  }
  if (!golden.contains("log_prob")) return;
  ASSERT_EQ(golden["log_prob"].size(), words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    EXPECT_NEAR(log_probabilities[i], golden["log_prob"][i].get<double>(), 1e-4) << words.word(i);
  }
}

void expect_goldens(const WordCounts& list, const Json& golden, std::span<const float> logits_BV) {
  const TrigramHasher hasher({1024, 4, 2, false, true});
  const WordSplitter splitter(SplitOptions::strict());
  const Dictionary words(list, hasher, splitter);
  ASSERT_EQ(words.size(), list.size());
  DictionarySearch search(words);
  for (const Json& entry : golden["variant_2"]) {
    expect_golden(search, words, entry, logits_BV.subspan(entry["row"].get<size_t>() * 1024, 1024),
                  ScoreVariant::kCurrent);
  }
  for (const Json& entry : golden["variant_1"]) {
    expect_golden(search, words, entry, logits_BV.subspan(entry["row"].get<size_t>() * 1024, 1024),
                  ScoreVariant::kFirst);
  }
}

TEST(dictionary_search, scores_like_the_reference) {
  if (!std::filesystem::exists(kGolden / "decode.json")) GTEST_SKIP() << kGolden << " is absent";
  const Json golden = Json::parse(std::ifstream(kGolden / "decode.json"));
  const Json list = Json::parse(std::ifstream(kGolden / "model_a_trained/dictionary.json"));
  const SafetensorsReader reader = SafetensorsReader::open(kGolden / "decode_logits.safetensors");
  std::vector<float> logits(6 * 1024);
  std::memcpy(logits.data(), reader.tensor("logits").bytes.data(), logits.size() * sizeof(float));
  WordCounts words;
  for (size_t i = 0; i < list["words"].size(); ++i) words.emplace_back(list["words"][i], list["counts"][i]);
  expect_goldens(words, golden, logits);
}

TEST(dictionary_search, scores_like_the_reference_on_the_extract) {
  const Json golden = Json::parse(std::ifstream(VERBATIM_TEST_DATA "/words/decode.json"));
  std::vector<float> logits(1024);
  std::ifstream(VERBATIM_TEST_DATA "/words/decode_logits.f32", std::ios::binary)
      .read(reinterpret_cast<char*>(logits.data()), static_cast<std::streamsize>(logits.size() * sizeof(float)));
  expect_goldens(counted(golden["words"]), golden, logits);
}

// Small alphabets, so that trigrams and whole sets of trigrams come back; few ids, so that ids do.
std::vector<std::string> made_up_words(Random& random, size_t n) {
  std::vector<std::string> words = {"<|ws|>", "<|\n|>"};
  for (size_t i = 0; i < n; ++i) {
    std::string& word = words.emplace_back();
    const size_t letters = 1 + random.below(14);
    const bool few = random.below(2) == 0;
    for (size_t k = 0; k < letters; ++k) {
      append_utf8(word, random.below(8) == 0
                            ? char32_t{0x430} + static_cast<char32_t>(random.below(4))
                            : (random.below(5) == 0 ? U'A' : U'a') + static_cast<char32_t>(random.below(few ? 2 : 26)));
    }
  }
  return words;
}

std::vector<float> made_up_logits(Random& random, size_t n) {
  std::vector<float> logits(n);
  for (float& logit : logits) logit = static_cast<float>(random.normal() * 2 - 2);
  return logits;
}

struct Case {
  TrigramOptions hashing;
  float edge_weight;
  float positive_weight;
};

class dictionary_search_cases : public testing::TestWithParam<Case> {};

TEST_P(dictionary_search_cases, equals_the_definition_for_every_word) {
  Random random(3);
  const TrigramHasher hasher(GetParam().hashing);
  const WordSplitter splitter;
  const Dictionary words(counted(made_up_words(random, 1500)), hasher, splitter);
  ASSERT_GT(words.size(), 1000U);
  DictionarySearch search(words);
  std::vector<reference::PlainWord> plain;
  for (size_t i = 0; i < words.size(); ++i) plain.push_back(reference::plain_word(hasher, words.word(i)));
  const std::vector<float> logits = made_up_logits(random, hasher.options().vocabulary);
  for (const ScoreVariant variant : kVariants) {
    const ScoreOptions options = {variant, GetParam().edge_weight, GetParam().positive_weight, {}};
    std::vector<float> scores;
    search.score_all(logits, options, scores);
    ASSERT_EQ(scores.size(), words.size());
    double best = -1e300;
    size_t best_index = 0;
    for (size_t i = 0; i < words.size(); ++i) {
      const double expected = reference::plain_score(plain[i], hasher.options(), logits, options);
      ASSERT_NEAR(scores[i], expected, 2e-6 * (50 + std::abs(expected))) << words.word(i);
      // Equal sets of ids are ties; a lead that rounding could make is none.
      if (expected > best + 1e-9) {
        best = expected;
        best_index = i;
      }
    }
    const std::vector<ScoredWord> top = search.best(logits, options, 1);
    ASSERT_EQ(top.size(), 1U);
    EXPECT_EQ(top[0].index, best_index);
  }
}

TEST_P(dictionary_search_cases, finds_exactly_the_best_of_all) {
  Random random(4);
  const TrigramHasher hasher(GetParam().hashing);
  const WordSplitter splitter;
  const Dictionary words(counted(made_up_words(random, 1000)), hasher, splitter);
  DictionarySearch search(words);
  const std::vector<float> logits = made_up_logits(random, hasher.options().vocabulary);
  const std::vector<size_t> black_list = {5, 17, 5};
  for (const ScoreVariant variant : kVariants) {
    const ScoreOptions options = {variant, GetParam().edge_weight, GetParam().positive_weight, black_list};
    std::vector<float> scores;
    search.score_all(logits, options, scores);
    EXPECT_EQ(scores[17], kMinusInfinity);
    std::vector<ScoredWord> expected;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] != kMinusInfinity) expected.push_back({i, scores[i]});
    }
    std::stable_sort(expected.begin(), expected.end(),
                     [](const ScoredWord& a, const ScoredWord& b) { return a.score > b.score; });
    EXPECT_EQ(search.best(logits, options, words.size() + 10), expected);
    for (const size_t n : {0, 1, 2, 50}) {
      EXPECT_EQ(search.best(logits, options, n), std::vector<ScoredWord>(expected.begin(), expected.begin() + n));
    }
  }
}

TEST_P(dictionary_search_cases, scores_each_row_of_a_batch_as_if_alone) {
  Random random(5);
  const TrigramHasher hasher(GetParam().hashing);
  const WordSplitter splitter;
  const Dictionary words(counted(made_up_words(random, 500)), hasher, splitter);
  DictionarySearch search(words);
  const size_t vocabulary = hasher.options().vocabulary;
  for (const size_t batch : {0, 1, 3, 4, 8, 11, 13}) {
    const std::vector<float> logits = made_up_logits(random, batch * vocabulary);
    for (const ScoreVariant variant : kVariants) {
      const ScoreOptions options = {variant, GetParam().edge_weight, GetParam().positive_weight, {}};
      std::vector<float> together;
      search.score_batch(logits, batch, options, together);
      ASSERT_EQ(together.size(), batch * words.size());
      const std::vector<std::vector<ScoredWord>> best = search.best_batch(logits, batch, options, 3);
      ASSERT_EQ(best.size(), batch);
      for (size_t row = 0; row < batch; ++row) {
        const std::span<const float> own = std::span(logits).subspan(row * vocabulary, vocabulary);
        std::vector<float> alone;
        search.score_all(own, options, alone);
        EXPECT_TRUE(
            std::equal(alone.begin(), alone.end(), together.begin() + static_cast<ptrdiff_t>(row * words.size())));
        EXPECT_EQ(best[row], search.best(own, options, 3));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, dictionary_search_cases,
                         testing::Values(Case{{8192, 10, 2, false, false}, 1, 1},
                                         Case{{1024, 4, 2, false, true}, 0.7F, 300},
                                         Case{{97, 10, 3, false, true}, 1.5F, 2}, Case{{64, 4, 0, false, false}, 0, 1},
                                         Case{{70000, 10, 2, false, false}, 1, 100},
                                         Case{{500, 8, 2, true, false}, 0.5F, 1}));

TEST(dictionary_search, gives_words_with_the_same_trigrams_equal_scores_and_takes_the_first) {
  const TrigramHasher hasher({});
  const WordSplitter splitter;
  const Dictionary words({{"x", 1}, {"aaaaa", 1}, {"aaaa", 1}, {"aaa", 1}}, hasher, splitter);
  DictionarySearch search(words);
  std::vector<float> logits(8192, -3);
  std::vector<int32_t> ids;
  hasher.append_ids("aaa", ids);
  for (const int32_t id : ids) logits[static_cast<size_t>(id)] = 3;
  std::vector<float> scores;
  search.score_all(logits, {}, scores);
  EXPECT_EQ(scores[1], scores[3]);
  const std::vector<ScoredWord> best = search.best(logits, {}, 3);
  EXPECT_EQ(best[0].index, 1U);
  EXPECT_EQ(best[1].index, 2U);
  EXPECT_EQ(best[2].index, 3U);
}

TEST(dictionary_search, finds_words_of_the_overlay) {
  const TrigramHasher hasher({});
  const WordSplitter splitter;
  const Dictionary base({{"cat", 1}, {"dog", 1}}, hasher, splitter);
  const std::vector<std::string_view> more = {"mouse", "dog"};
  const DictionaryOverlay overlay(base, more);
  DictionarySearch search(overlay);
  ASSERT_EQ(search.size(), 3U);
  std::vector<float> logits(8192, -3);
  std::vector<int32_t> ids;
  hasher.append_ids("mouse", ids);
  for (const int32_t id : ids) logits[static_cast<size_t>(id)] = 3;
  const Dictionary copy({{"cat", 1}, {"dog", 1}, {"mouse", 1}}, hasher, splitter);
  DictionarySearch plain(copy);
  std::vector<float> scores;
  std::vector<float> expected;
  for (const ScoreVariant variant : kVariants) {
    search.score_all(logits, {.variant = variant}, scores);
    plain.score_all(logits, {.variant = variant}, expected);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(scores[i], expected[i], 1e-4);
    EXPECT_EQ(search.best(logits, {.variant = variant}, 1)[0].index, 2U);
  }
  const std::vector<std::string_view> nothing = {"dog"};
  const DictionaryOverlay same(base, nothing);
  EXPECT_EQ(DictionarySearch(same).best(logits, {}, 9).size(), 2U);
}

// V - m * count is 0 or below for a long word and a small V.
TEST(dictionary_search, stays_finite_for_words_that_cover_all_ids) {
  const TrigramHasher hasher({.vocabulary = 20, .ids_per_trigram = 5, .shared_ids = 0});
  const WordSplitter splitter;
  const Dictionary words({{"ab", 1}, {"abc", 1}, {"abcd", 1}, {"abcdefghijklmnop", 1}}, hasher, splitter);
  std::vector<float> scores;
  DictionarySearch(words).score_all(std::vector<float>(20, 0.5F), {.variant = ScoreVariant::kCurrent}, scores);
  for (const float score : scores) EXPECT_TRUE(std::isfinite(score));
}

TEST(dictionary_search, refuses_logits_that_are_no_numbers) {
  const TrigramHasher hasher({});
  const WordSplitter splitter;
  const Dictionary words({{"cat", 1}}, hasher, splitter);
  DictionarySearch search(words);
  for (const float bad : {std::nanf(""), -kMinusInfinity, kMinusInfinity, 2e30F}) {
    std::vector<float> logits(8192);
    logits[77] = bad;
    try {
      (void)search.best(logits, {}, 1);
      FAIL() << bad;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("logit 77 is"));
    }
  }
  const std::vector<float> logits(8192);
  EXPECT_THROW((void)search.best(std::span(logits).first(8191), {}, 1), InputError);
  EXPECT_THROW((void)search.best(logits, {.edge_weight = std::nanf("")}, 1), InputError);
  EXPECT_THROW((void)search.best(logits, {.positive_weight = 0}, 1), InputError);
  const std::vector<size_t> beyond = {1};
  EXPECT_THROW((void)search.best(logits, {.black_list = beyond}, 1), InputError);
}

TEST(dictionary_search, finds_nothing_in_an_empty_dictionary) {
  const TrigramHasher hasher({});
  const WordSplitter splitter;
  const Dictionary words({}, hasher, splitter);
  EXPECT_TRUE(DictionarySearch(words).best(std::vector<float>(8192), {}, 3).empty());
}

TEST(log_softmax, leaves_out_what_is_excluded) {
  std::vector<float> scores = {1, kMinusInfinity, 1};
  log_softmax(scores);
  EXPECT_NEAR(scores[0], std::log(0.5), 1e-6);
  EXPECT_EQ(scores[1], kMinusInfinity);
}

}  // namespace
}  // namespace verbatim
