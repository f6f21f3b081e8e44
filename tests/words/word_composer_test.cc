#include "words/word_composer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "text/utf8.h"
#include "words/dictionary_search.h"
#include "words/reference/plain_dictionary.h"
#include "words/trigram_prior.h"
#include "words/word_byte_model.h"

namespace verbatim {
namespace {

// A list in which the words held out below are missing, but not their trigrams.
const WordCounts kKnown = {{"the", 90},
                           {"weather", 20},
                           {"whether", 9},
                           {"together", 8},
                           {"there", 30},
                           {"heather", 2},
                           {"thunder", 4},
                           {"understand", 6},
                           {"standing", 5},
                           {"landing", 3},
                           {"winter", 7},
                           {"wind", 12},
                           {"window", 8},
                           {"winding", 2},
                           {"storm", 6},
                           {"brainstorm", 1},
                           {"form", 9},
                           {"forming", 2},
                           {"Stormy", 1},
                           {"\xC3\xA4pfel", 3},
                           {"l\xC3\xA4uft", 4},
                           {"kopf", 2},
                           {"\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82", 2},
                           {"<|ws|>", 40}};

class word_composer : public testing::TestWithParam<bool> {
 protected:
  // Logits of a model that is sure of the word: its ids high, with noise.
  std::vector<float> logits_for(std::string_view word, double noise = 1) {
    std::vector<float> logits(hasher_.options().vocabulary);
    Random random(7);
    for (float& logit : logits) logit = static_cast<float>(-6 + noise * random.normal());
    std::vector<int32_t> ids;
    hasher_.append_ids(word, ids);
    for (const int32_t id : ids) logits[static_cast<size_t>(id)] = static_cast<float>(3 + noise * random.normal());
    return logits;
  }

  TrigramHasher hasher_{TrigramOptions{.strict = GetParam()}};
  WordSplitter splitter_{GetParam() ? SplitOptions::strict() : SplitOptions{}};
  Dictionary dictionary_{kKnown, hasher_, splitter_};
  TrigramPrior prior_{dictionary_};
};

INSTANTIATE_TEST_SUITE_P(, word_composer, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "strict" : "improved"; });

TEST_P(word_composer, finds_held_out_words_of_known_trigrams) {
  const WordComposer composer(hasher_, splitter_, &prior_);
  for (const char* word : {"thunderstorm", "understorm", "brainstanding", "forminstorm"}) {
    ASSERT_EQ(dictionary_.find(word), -1);
    const auto found = composer.compose(logits_for(word), {.beam = 8, .exclude = &dictionary_});
    ASSERT_FALSE(found.empty()) << word;
    EXPECT_EQ(found[0].word, word);
  }
}

TEST_P(word_composer, finds_any_word_without_a_prior) {
  const WordComposer composer(hasher_, splitter_);
  for (const char* word :
       {"Xylo", "q", "zz", "\xC3\x84pfel", "\xE6\x97\xA5", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82"}) {
    const auto found = composer.compose(logits_for(word), {.beam = 16});
    ASSERT_FALSE(found.empty()) << word;
    EXPECT_EQ(found[0].word, word);
  }
}

// "heatheather" has the trigrams of "heather".
TEST_P(word_composer, takes_the_shortest_of_words_with_the_same_trigrams) {
  const WordComposer composer(hasher_, splitter_, &prior_);
  const auto found = composer.compose(logits_for("heatheather"), {});
  ASSERT_GT(found.size(), 1U);
  EXPECT_EQ(found[0].word, "heather");
  EXPECT_EQ(found[1].word, "heatheather");
  EXPECT_EQ(found[0].score, found[1].score);
}

TEST_P(word_composer, scores_words_exactly_as_a_dictionary_does) {
  const WordComposer composer(hasher_, splitter_, &prior_);
  const std::vector<float> logits = logits_for("thunder");
  const ScoreOptions options = {.positive_weight = 3};
  for (const auto& found : composer.compose(logits, {.positive_weight = 3})) {
    const double expected =
        reference::plain_score(reference::plain_word(hasher_, found.word), hasher_.options(), logits, options);
    EXPECT_NEAR(found.score, expected, 1e-3) << found.word;
  }
}

TEST_P(word_composer, returns_the_best_first_and_nothing_twice) {
  const WordComposer composer(hasher_, splitter_, &prior_);
  const auto found = composer.compose(logits_for("weather", 2), {.results = 20, .prior_weight = 0.5});
  ASSERT_GT(found.size(), 3U);
  std::vector<std::string> words;
  for (size_t i = 0; i < found.size(); ++i) {
    words.push_back(found[i].word);
    EXPECT_LT(found[i].log_prior, 0);
    if (i == 0) continue;
    EXPECT_GE(found[i - 1].score + 0.5 * found[i - 1].log_prior, found[i].score + 0.5 * found[i].log_prior);
  }
  std::sort(words.begin(), words.end());
  EXPECT_EQ(std::adjacent_find(words.begin(), words.end()), words.end());
}

TEST_P(word_composer, makes_only_text_that_is_one_word) {
  const WordComposer composer(hasher_, splitter_);
  std::vector<float> logits(hasher_.options().vocabulary);
  Random random(11);
  for (float& logit : logits) logit = static_cast<float>(random.normal());
  const auto found = composer.compose(logits, {.beam = 32, .longest = 8, .results = 200});
  EXPECT_GT(found.size(), 100U);
  for (const auto& [word, score, prior] : found) {
    EXPECT_TRUE(is_valid_utf8(word));
    EXPECT_LE(word.size(), 8U);
    Words words;
    splitter_.split(word, words);
    ASSERT_EQ(words.list.size(), 1U);
    EXPECT_EQ(words.list[0].text, word);
  }
}

// With a beam wider than the number of beginnings the search is complete: nothing that the trigrams of the prior allow
// scores higher than what it finds.
TEST_P(word_composer, misses_nothing_with_a_wide_beam) {
  const Dictionary small({{"abab", 1}, {"bba", 1}, {"ab", 1}}, hasher_, splitter_);
  const TrigramPrior prior(small);
  const WordComposer composer(hasher_, splitter_, &prior);
  for (const char* target : {"abba", "bab", "ababba", "bba"}) {
    const std::vector<float> logits = logits_for(target, 3);
    std::vector<std::pair<double, std::string>> all;
    for (uint32_t length = 1; length <= 7; ++length) {
      for (uint32_t bits = 0; bits < 1U << length; ++bits) {
        std::string word;
        for (uint32_t i = 0; i < length; ++i) word += (bits >> i & 1) != 0 ? 'b' : 'a';
        bool is_allowed = true;
        for (size_t size = 0; size <= word.size(); ++size) {
          const auto symbols = prior.continuations(WordContext::behind(std::string_view(word).substr(0, size)));
          const size_t symbol = size == word.size() ? kWordEnd : static_cast<uint8_t>(word[size]);
          is_allowed = is_allowed && std::find(symbols.begin(), symbols.end(), symbol) != symbols.end();
        }
        if (!is_allowed) continue;
        all.emplace_back(-reference::plain_score(reference::plain_word(hasher_, word), hasher_.options(), logits, {}),
                         word);
      }
    }
    std::sort(all.begin(), all.end());
    const auto found = composer.compose(logits, {.beam = 1000, .longest = 7, .results = 3});
    ASSERT_EQ(found.size(), 3U);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(found[i].score, -all[i].first, 1e-3) << i;
  }
}

TEST_P(word_composer, refuses_what_makes_no_sense) {
  const TrigramHasher whole({.whole_words = true});
  EXPECT_THROW(WordComposer(whole, splitter_), InputError);
  EXPECT_THROW(WordByteModel(whole, prior_), InputError);
  const WordComposer composer(hasher_, splitter_);
  std::vector<float> logits(hasher_.options().vocabulary);
  EXPECT_THROW((void)composer.compose(logits, {.beam = 0}), InputError);
  EXPECT_THROW((void)composer.compose(logits, {.positive_weight = -1}), InputError);
  logits[3] = std::nanf("");
  EXPECT_THROW((void)composer.compose(logits, {}), InputError);
  EXPECT_THROW(WordByteModel(hasher_, prior_, {.escape = 0}), InputError);
  EXPECT_THROW(WordByteModel(hasher_, prior_).set_logits(logits), InputError);
}

TEST_P(word_composer, prior_sums_to_one_everywhere_and_knows_what_it_saw) {
  for (size_t context = 0; context < 65536; context += context < 0x6000 ? 97 : 13) {
    const WordContext bytes = {static_cast<uint8_t>(context >> 8), static_cast<uint8_t>(context & 0xFF)};
    const auto probabilities = prior_.distribution(bytes);
    EXPECT_NEAR(std::accumulate(probabilities.begin(), probabilities.end(), 0.0), 1, 1e-12);
    EXPECT_GT(*std::min_element(probabilities.begin(), probabilities.end()), 0);
  }
  // "wi" is followed by n only, in four words: (4 + 1 * p) / (4 + 1) with p the probability behind "i".
  const std::vector<uint16_t> only_n = {'n'};
  const auto behind_wi = prior_.continuations({'w', 'i'});
  EXPECT_EQ((std::vector<uint16_t>(behind_wi.begin(), behind_wi.end())), only_n);
  EXPECT_GT(prior_.distribution({'w', 'i'})['n'], 0.8);
  const TrigramPrior by_count(dictionary_, {.count_power = 1});
  EXPECT_GT(by_count.distribution({})['t'], prior_.distribution({})['t']);
  EXPECT_TRUE(prior_.continuations({'<', '|'}).empty());
}

TEST_P(word_composer, byte_model_sums_to_one_and_codes_every_string) {
  WordByteModel model(hasher_, prior_, {.alpha = 0.5, .beta = 0.8, .escape = 1e-3});
  for (const double scale : {0.0, 1.0, 1e6}) {
    std::vector<float> logits = logits_for("thunderstorm");
    for (float& logit : logits) logit *= static_cast<float>(scale);
    model.set_logits(logits);
    for (const std::string& bytes : {std::string(), std::string("t"), std::string("thunders"), std::string("\xFF"),
                                     std::string("a b  "), std::string(3, '\0')}) {
      const WordByteModel::Distribution& next = model.next(bytes);
      EXPECT_NEAR(std::accumulate(next.begin(), next.end(), 0.0), 1, 1e-12) << bytes;
      EXPECT_GE(*std::min_element(next.begin(), next.end()), 1e-3 / 257 * 0.999) << bytes;
    }
    EXPECT_TRUE(std::isfinite(model.log_probability(std::string("\0\xFF <|ws|>", 9))));
    EXPECT_TRUE(std::isfinite(model.log_probability("")));
  }
}

// All strings of at most three letters together with the ends: what is left is the mass of longer ones.
TEST_P(word_composer, byte_model_is_a_distribution_over_words) {
  const Dictionary small({{"ab", 1}, {"ba", 1}, {"b", 1}}, hasher_, splitter_);
  const TrigramPrior prior(small);
  WordByteModel model(hasher_, prior);
  model.set_logits(logits_for("ab"));
  double inside = 0;
  double longer = 0;
  const auto walk = [&](const auto& self, const std::string& bytes, double probability) -> void {
    const WordByteModel::Distribution next = model.next(bytes);
    inside += probability * next[kWordEnd];
    for (size_t byte = 0; byte < 256; ++byte) {
      if (bytes.size() == 1) {
        longer += probability * next[byte];
      } else {
        self(self, bytes + static_cast<char>(byte), probability * next[byte]);
      }
    }
  };
  walk(walk, "", 1);
  EXPECT_NEAR(inside + longer, 1, 1e-9);
  EXPECT_NEAR(std::exp(model.log_probability("ab")),
              model.next("")['a'] * model.next("a")['b'] * model.next("ab")[kWordEnd], 1e-12);
}

TEST_P(word_composer, byte_model_gives_the_word_behind_the_logits_most) {
  WordByteModel model(hasher_, prior_);
  for (const char* word : {"thunderstorm", "windstorm", "weather", "Xylophon"}) {
    const double own = model.log_probability(word, logits_for(word));
    // Bits: far less than eight for each byte, and far less than with the logits of another word.
    EXPECT_LT(-own / std::log(2), 4.0 * static_cast<double>(std::string_view(word).size())) << word;
    EXPECT_LT(model.log_probability(word, logits_for("the")) + 5, own) << word;
    EXPECT_EQ(model.log_probability(word, logits_for(word)), own);
  }
}

}  // namespace
}  // namespace verbatim
