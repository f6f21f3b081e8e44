#include "tokenizers/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/model_builder.h"
#include "tokenizers/reference/bpe_reference.h"
#include "tokenizers/sentencepiece_tokenizer.h"

namespace verbatim {
namespace {

using testing_models::byte_level_json;
using testing_models::llama2_style_json;
using testing_models::small_model;

using Ids = std::vector<int32_t>;

// Ids: bytes 0..255, "th" 256, "the" 257, " the" 258, "in" 259, end of text 260.
nlohmann::json the_json() { return byte_level_json({{"t", "h"}, {"th", "e"}, {"\xC4\xA0", "the"}, {"i", "n"}}); }
BpeTokenizer open_json(const nlohmann::json& json) { return BpeTokenizer(json.dump(), "tokenizer.json"); }

TEST(bpe_tokenizer, merges_inside_words_in_the_order_of_the_file) {
  const BpeTokenizer tokenizer = open_json(the_json());
  EXPECT_EQ(tokenizer.vocabulary_size(), 261);
  EXPECT_TRUE(tokenizer.is_lossless());
  const Tokens tokens = tokenizer.encode("the the thin\xFF");
  EXPECT_EQ(tokens.ids, (Ids{257, 258, ' ', 256, 259, 0xFF}));
  EXPECT_EQ(tokens.ends, (std::vector<uint32_t>{3, 7, 8, 10, 12, 13}));
  EXPECT_EQ(tokenizer.token_bytes(258).bytes, " the");
  EXPECT_EQ(tokenizer.token_bytes(260).kind, TokenKind::kControl);
  EXPECT_EQ(tokenizer.begin_id(), 260);
  EXPECT_EQ(tokenizer.end_id(), 260);
  EXPECT_EQ(tokenizer.file_name(), "tokenizer.json");
}

TEST(bpe_tokenizer, agrees_with_the_definition_on_random_text) {
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"a", "b"},   {"b", "a"},  {"ab", "a"},   {"a", "a"},  {"b", "b"},
      {"aa", "bb"}, {"c", "ab"}, {"aba", "ba"}, {"ba", "b"}, {"aa", "a"}};
  const BpeTokenizer tokenizer = open_json(byte_level_json(merges));
  Random random(8);
  for (int round = 0; round < 500; ++round) {
    std::string word;
    for (uint64_t n = 1 + random.below(round % 10 == 0 ? 120 : 20); n > 0; --n) word += "aabbc"[random.below(5)];
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    std::vector<std::string> got;
    for (const int32_t id : tokenizer.encode(word).ids) got.push_back(tokenizer.token_bytes(id).bytes);
    ASSERT_EQ(got, reference::merge_by_definition(symbols, merges)) << word;
  }
}

TEST(bpe_tokenizer, reads_both_spellings_of_merges) {
  nlohmann::json json = the_json();
  nlohmann::json pairs = nlohmann::json::array();
  for (const auto& merge : json["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    pairs.push_back({text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)});
  }
  json["model"]["merges"] = pairs;
  EXPECT_EQ(open_json(json).encode("the the thin").ids, open_json(the_json()).encode("the the thin").ids);
}

TEST(bpe_tokenizer, takes_whole_words_from_the_vocabulary_when_merges_are_ignored) {
  nlohmann::json json = the_json();
  json["model"]["vocab"]["then"] = 300;
  EXPECT_EQ(open_json(json).encode("then").ids, (Ids{257, 'n'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(open_json(json).encode("then").ids, (Ids{300}));
  EXPECT_EQ(open_json(json).encode("thenx").ids, (Ids{257, 'n', 'x'}));
}

TEST(bpe_tokenizer, text_cannot_make_control_ids) {
  nlohmann::json json = the_json();
  const BpeTokenizer tokenizer = open_json(json);
  const std::string text = "a<|endoftext|>b";
  EXPECT_EQ(tokenizer.encode(text).ids.size(), text.size());
  EXPECT_EQ(tokenizer.encode_with_special(text).ids, (Ids{'a', 260, 'b'}));
  EXPECT_EQ(tokenizer.encode_with_special(text).ends, (std::vector<uint32_t>{1, 14, 15}));
  EXPECT_EQ(tokenizer.encode_like_original(text), (Ids{'a', 260, 'b'}));
  EXPECT_EQ(tokenizer.decode(Ids{'a', 260, 'b'}), "ab");
  // Not even by a merge or a whole word that spells one.
  json["added_tokens"].push_back({{"id", 259}, {"content", "in"}, {"special", true}});
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(open_json(json).encode("in").ids, (Ids{'i', 'n'}));
}

TEST(bpe_tokenizer, cuts_out_added_tokens_before_anything_else) {
  nlohmann::json json = the_json();
  json["added_tokens"].push_back({{"id", 270}, {"content", "he"}, {"special", false}, {"normalized", false}});
  json["added_tokens"].push_back({{"id", 271}, {"content", "hell"}, {"special", false}, {"normalized", false}});
  json["added_tokens"].push_back({{"id", 272}, {"content", "x"}, {"single_word", true}});
  json["added_tokens"].push_back({{"id", 273}, {"content", "[M]"}, {"lstrip", true}, {"rstrip", true}});
  const BpeTokenizer tokenizer = open_json(json);
  EXPECT_EQ(tokenizer.encode("the").ids, (Ids{'t', 270}));
  EXPECT_EQ(tokenizer.encode("hello").ids, (Ids{271, 'o'}));
  EXPECT_EQ(tokenizer.encode("x ax x").ids, (Ids{272, ' ', 'a', 'x', ' ', 272}));
  // The library swallows the spaces beside [M]; encode() keeps them.
  EXPECT_EQ(tokenizer.encode("a [M] b").ids, (Ids{'a', ' ', 273, ' ', 'b'}));
  EXPECT_EQ(tokenizer.encode_like_original("a [M] b"), (Ids{'a', 273, 'b'}));
  EXPECT_EQ(tokenizer.token_bytes(273).kind, TokenKind::kUserDefined);
  EXPECT_EQ(tokenizer.token_bytes(273).bytes, "[M]");
  EXPECT_EQ(tokenizer.token_bytes(265).kind, TokenKind::kControl);  // a hole in the ids
}

TEST(bpe_tokenizer, normal_forms_change_only_what_the_original_library_gives) {
  nlohmann::json json = the_json();
  json["normalizer"] = {{"type", "NFC"}};
  const BpeTokenizer tokenizer = open_json(json);
  EXPECT_EQ(tokenizer.encode_like_original("e\xCC\x81"), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.encode("e\xCC\x81").ids, (Ids{'e', 0xCC, 0x81}));
  EXPECT_EQ(tokenizer.encode("\xC3\xA9").ids, (Ids{0xC3, 0xA9}));
}

TEST(bpe_tokenizer, shows_broken_characters_as_the_original_library_does) {
  const BpeTokenizer tokenizer = open_json(the_json());
  // One U+FFFD for each maximal beginning of a character.
  EXPECT_EQ(tokenizer.decode_like_original({'a', 0xE2, 0x96, 'b', 0xFF, 0xF0, 0x9F, 0x98}),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD\xEF\xBF\xBD");
  const BpeTokenizer fallback = open_json(llama2_style_json(SentencepieceModel::parse(small_model().build(), "small")));
  EXPECT_EQ(fallback.decode_like_original({261, 3 + 0xE2, 3 + 0x96, 262}), "the\xEF\xBF\xBD\xEF\xBF\xBDin");
  EXPECT_EQ(fallback.decode_like_original({1, 261, 3 + 0xC3, 3 + 0xBC}), "the\xC3\xBC");
}

TEST(bpe_tokenizer, finds_begin_and_end_in_the_template) {
  nlohmann::json json = the_json();
  json["added_tokens"].push_back({{"id", 261}, {"content", "[B]"}, {"special", true}});
  json["added_tokens"].push_back({{"id", 262}, {"content", "[E]"}, {"special", true}});
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single",
                             {{{"SpecialToken", {{"id", "[B]"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                              {{"SpecialToken", {{"id", "[E]"}, {"type_id", 0}}}}}}};
  EXPECT_EQ(open_json(json).begin_id(), 261);
  EXPECT_EQ(open_json(json).end_id(), 262);
  EXPECT_EQ(open_json(byte_level_json({})).begin_id(), 256);
}

TEST(bpe_tokenizer, a_vocabulary_without_all_bytes_says_so_and_never_loses_text_silently) {
  nlohmann::json json = the_json();
  json["model"]["vocab"].erase("q");
  const BpeTokenizer tokenizer = open_json(json);
  EXPECT_FALSE(tokenizer.is_lossless());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("the").ids), "the");
  EXPECT_THROW((void)tokenizer.encode("q"), InputError);
  EXPECT_EQ(tokenizer.encode_like_original("aqb"), (Ids{'a', 'b'}));  // the library drops it without an unknown token
}

TEST(bpe_tokenizer, merges_of_byte_pieces_cannot_lose_text) {
  nlohmann::json json = llama2_style_json(SentencepieceModel::parse(small_model().build(), "small"));
  json["model"]["vocab"]["<0x79><0x7A>"] = 300;
  json["model"]["merges"].push_back({"<0x79>", "<0x7A>"});
  const BpeTokenizer tokenizer = open_json(json);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("yz <0x79><0x7A>").ids), "yz <0x79><0x7A>");
}

// The SentencePiece model and its tokenizer.json form are two roads to the same ids: here the library, there our
// merges.
TEST(bpe_tokenizer, agrees_with_the_sentencepiece_library_on_the_same_vocabulary) {
  const std::string model = small_model().build();
  const SentencepieceTokenizer original(model, "small");
  const BpeTokenizer json = open_json(llama2_style_json(SentencepieceModel::parse(model, "small")));
  EXPECT_EQ(json.begin_id(), 1);
  EXPECT_EQ(json.end_id(), 2);
  Random random(4);
  const char* parts[] = {"the", " ",  "in",  "er",       "an",           "on",
                         "a",   "th", "ing", "\xC3\xBC", "ber",          "\xD0\xBF\xD1\x80",
                         "z",   "\n", "1",   "\xFF",     "\xE2\x96\x81", "[GO]"};
  for (int round = 0; round < 1000; ++round) {
    std::string text;
    for (uint64_t n = random.below(12); n > 0; --n) text += parts[random.below(std::size(parts))];
    if (text.starts_with("[GO]")) continue;  // the original puts its prefix in front of it, a tokenizer.json does not
    ASSERT_EQ(json.encode(text).ids, original.encode(text).ids) << testing::PrintToString(text);
    if (text.find_first_of("\xFF\x96") == std::string::npos) {
      ASSERT_EQ(json.encode(text).ids, original.encode_like_original(text)) << testing::PrintToString(text);
    }
    ASSERT_EQ(json.encode(text).ends, original.encode(text).ends) << testing::PrintToString(text);
  }
}

TEST(bpe_tokenizer, agrees_with_the_golden_ids_of_mistral_and_llama2) {
  const std::filesystem::path shared = VERBATIM_SHARED;
  if (!std::filesystem::exists(shared / "golden/sentencepiece")) GTEST_SKIP() << shared << " is not here";
  for (const char* name : {"mistral-v1", "llama2"}) {
    const std::string file = read_file(shared / "data/tokenizers" / (std::string(name) + ".model"));
    const BpeTokenizer tokenizer = open_json(llama2_style_json(SentencepieceModel::parse(file, name)));
    EXPECT_TRUE(tokenizer.is_lossless());
    std::ifstream lines(shared / "golden/sentencepiece/encode.jsonl");
    int compared = 0;
    for (std::string line; std::getline(lines, line);) {
      const auto golden = nlohmann::json::parse(line);
      const auto text = golden["text"].get<std::string>();
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids), text);
      if (text.find("\xE2\x96\x81") != std::string::npos) continue;
      EXPECT_EQ(tokenizer.encode(text).ids, golden[name].get<Ids>()) << name << ": " << text;
      ++compared;
    }
    EXPECT_GT(compared, 440);
  }
}

}  // namespace
}  // namespace verbatim
