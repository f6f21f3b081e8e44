#include "tokenizers/bpe_trainer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/model_builder.h"
#include "tokenizers/reference/bpe_reference.h"

namespace verbatim {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

Merges merges_in(const std::string& json_text) {
  Merges merges;
  const auto json = nlohmann::json::parse(json_text);
  for (const auto& merge : json["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const size_t space = text.find(' ');
    merges.emplace_back(*from_byte_level(text.substr(0, space)), *from_byte_level(text.substr(space + 1)));
  }
  return merges;
}

// The example on paper: "aaabdaaabac". aa occurs 4 times (overlaps count); then ab twice, as does (aa, a): (a, b) comes
// first in byte order. Then aa-ab twice; what is left occurs once.
TEST(bpe_trainer, learns_the_example_worked_out_by_hand) {
  BpeTrainer trainer({.vocabulary_size = 300, .min_count = 2});
  trainer.add("aaabdaaabac");
  EXPECT_EQ(merges_in(trainer.train()), (Merges{{"a", "a"}, {"a", "b"}, {"aa", "ab"}}));
}

TEST(bpe_trainer, learns_like_the_definition) {
  Random random(12);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> documents;
    std::map<std::string, int64_t> words;
    for (int d = 0; d < 20; ++d) {
      std::string document;
      for (uint64_t n = 1 + random.below(30); n > 0; --n) {
        std::string word;
        for (uint64_t m = 1 + random.below(9); m > 0; --m) word += "aaabbcd"[random.below(round % 2 == 0 ? 3 : 7)];
        if (!document.empty()) word.insert(0, " ");
        document += word;
        ++words[word];
      }
      documents.push_back(document);
    }
    const size_t max_bytes = round % 3 == 0 ? 4 : 64;
    const BpeTrainerOptions options = {
        .vocabulary_size = 257 + 60, .min_count = 2, .max_token_bytes = max_bytes, .num_threads = 2};
    const std::string json =
        train_bpe(options, documents.size(), [&](uint64_t i) { return std::string_view(documents[i]); });
    ASSERT_EQ(merges_in(json), reference::learn_by_definition(words, 60, 2, max_bytes)) << "round " << round;
  }
}

TEST(bpe_trainer, gives_the_same_file_for_any_number_of_threads_and_any_order) {
  std::vector<std::string> documents;
  Random random(1);
  for (int i = 0; i < 300; ++i) {
    std::string document;
    for (int n = 0; n < 50; ++n) {
      const std::string& text = testing_models::awkward_texts()[random.below(testing_models::awkward_texts().size())];
      document += text.substr(0, 1 + random.below(20));
    }
    documents.push_back(document);
  }
  const auto train = [&](unsigned num_threads, bool backwards) {
    return train_bpe({.vocabulary_size = 600, .num_threads = num_threads}, documents.size(),
                     [&](uint64_t i) { return std::string_view(documents[backwards ? documents.size() - 1 - i : i]); });
  };
  const std::string one = train(1, false);
  EXPECT_EQ(train(2, false), one);
  EXPECT_EQ(train(5, true), one);
  EXPECT_EQ(train(0, true), one);
}

TEST(bpe_trainer, writes_a_file_of_the_common_kind) {
  for (const WordPattern pattern : {WordPattern::kGpt2, WordPattern::kLlama3}) {
    BpeTrainer trainer({.vocabulary_size = 260, .pattern = pattern});
    trainer.add("the the the the");
    const std::string text = trainer.train();
    const auto json = nlohmann::json::parse(text);
    EXPECT_EQ(json["version"], "1.0");
    EXPECT_EQ(json["model"]["type"], "BPE");
    EXPECT_EQ(json["model"]["vocab"].size(), 260u);
    EXPECT_EQ(json["model"]["merges"].size(), 3u);
    EXPECT_EQ(json["model"]["vocab"]["<|endoftext|>"], 259);
    EXPECT_EQ(json["added_tokens"][0]["id"], 259);
    EXPECT_EQ(json["added_tokens"][0]["special"], true);
    const BpeTokenizer tokenizer(text, "trained");
    EXPECT_EQ(tokenizer.vocabulary_size(), 260);
    EXPECT_EQ(tokenizer.end_id(), 259);
    for (int32_t byte = 0; byte < 256; ++byte) {
      EXPECT_EQ(tokenizer.token_bytes(byte).bytes, std::string(1, static_cast<char>(byte)));
    }
    EXPECT_LT(tokenizer.encode("the the the").ids.size(), 6u);
  }
}

TEST(bpe_trainer, a_small_text_gives_a_smaller_vocabulary) {
  BpeTrainer empty({.vocabulary_size = 1000});
  EXPECT_EQ(BpeTokenizer(empty.train(), "trained").vocabulary_size(), 257);
  BpeTrainer one_word({.vocabulary_size = 1000, .min_count = 1});
  one_word.add("word");
  EXPECT_EQ(BpeTokenizer(one_word.train(), "trained").vocabulary_size(), 256 + 3 + 1);
}

TEST(bpe_trainer, counts_a_very_long_word_in_parts) {
  BpeTrainer trainer({.vocabulary_size = 300});
  trainer.add(std::string(1000000, 'a'));
  const Merges merges = merges_in(trainer.train());
  ASSERT_FALSE(merges.empty());
  for (const auto& [left, right] : merges) EXPECT_LE(left.size() + right.size(), 64u);
}

TEST(bpe_trainer, refuses_impossible_options) {
  EXPECT_THROW(BpeTrainer({.vocabulary_size = 256}), InputError);
  EXPECT_THROW(BpeTrainer({.vocabulary_size = int64_t{1} << 40}), InputError);
  EXPECT_THROW(BpeTrainer({.end_of_text = ""}), InputError);
}

TEST(bpe_trainer, a_failing_source_is_reported) {
  EXPECT_THROW((void)train_bpe({.num_threads = 3}, 100,
                               [](uint64_t i) -> std::string_view {
                                 if (i == 57) throw_input("document {} is damaged", i);
                                 return "text";
                               }),
               InputError);
}

TEST(bpe_trainer, makes_the_vocabulary_kept_with_the_tests) {
  // The file pins the format and the order of ids; it was checked against the definition when it was made.
  const std::filesystem::path path = std::filesystem::path(VERBATIM_TEST_DATA) / "tokenizers/tiny.tokenizer.json";
  std::string text;
  for (int i = 0; i < 40; ++i) {
    for (const std::string& awkward : testing_models::awkward_texts()) text += awkward + "\n";
  }
  BpeTrainer trainer({.vocabulary_size = 320, .min_count = 2, .max_token_bytes = 16});
  trainer.add(text);
  EXPECT_EQ(trainer.train(), read_file(path));
}

}  // namespace
}  // namespace verbatim
