// Files that are not what they should be: each one a clear error that names the file, none a crash.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/model_builder.h"
#include "tokenizers/sentencepiece_tokenizer.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;
using testing_models::byte_level_json;
using testing_models::small_model;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string json_error(const std::string& text) {
  return error_of([&] { BpeTokenizer(text, "file.json"); });
}

TEST(malformed_tokenizer_json, is_refused_with_its_place) {
  const struct {
    const char* expected;  // part of the message
    std::function<void(Json&)> damage;
  } cases[] = {
      {"model: expected an object", [](Json& json) { json.erase("model"); }},
      {"version 2.0", [](Json& json) { json["version"] = "2.0"; }},
      {"model type WordPiece", [](Json& json) { json["model"]["type"] = "WordPiece"; }},
      {"model.vocab: expected an object", [](Json& json) { json["model"].erase("vocab"); }},
      {"model.vocab: expected an object",
       [](Json& json) {
         json["model"]["vocab"] = {1, 2};
       }},
      {"expected an id", [](Json& json) { json["model"]["vocab"]["a"] = "x"; }},
      {"expected an id", [](Json& json) { json["model"]["vocab"]["a"] = -1; }},
      {"expected an id", [](Json& json) { json["model"]["vocab"]["a"] = 1.5; }},
      {"expected an id", [](Json& json) { json["model"]["vocab"]["a"] = 18446744073709551615u; }},
      {"the largest id is 2147483000", [](Json& json) { json["model"]["vocab"]["a"] = 2147483000; }},
      {"have the same id", [](Json& json) { json["model"]["vocab"]["a"] = 98; }},
      {"model.merges: expected a list", [](Json& json) { json["model"].erase("merges"); }},
      {"model.merges[0]", [](Json& json) { json["model"]["merges"] = {1}; }},
      {"model.merges[0]", [](Json& json) { json["model"]["merges"] = {"ab"}; }},
      {"model.merges[0]", [](Json& json) { json["model"]["merges"] = {"a b c"}; }},
      {"model.merges[0]", [](Json& json) { json["model"]["merges"] = {{"a"}}; }},
      {"is not in model.vocab", [](Json& json) { json["model"]["merges"] = {"a zz"}; }},
      {"\"ab\" is not in model.vocab", [](Json& json) { json["model"]["merges"] = {"a b"}; }},
      {"dropout", [](Json& json) { json["model"]["dropout"] = 0.1; }},
      {"end_of_word_suffix", [](Json& json) { json["model"]["end_of_word_suffix"] = "</w>"; }},
      {"continuing_subword_prefix", [](Json& json) { json["model"]["continuing_subword_prefix"] = "##"; }},
      {"unknown token", [](Json& json) { json["model"]["unk_token"] = "[UNK]"; }},
      {"ignore_merges: expected true or false", [](Json& json) { json["model"]["ignore_merges"] = 1; }},
      {"normalizer Lowercase",
       [](Json& json) {
         json["normalizer"] = {{"type", "Lowercase"}};
       }},
      {"normalizer.type", [](Json& json) { json["normalizer"] = Json::object(); }},
      {"normalizer Replace",
       [](Json& json) {
         json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}};
       }},
      {"normalizers",
       [](Json& json) {
         json["normalizer"] = {{"type", "Sequence"}};
       }},
      {"pre-tokenizer BertPreTokenizer",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
       }},
      {"pre_tokenizer: expected an object", [](Json& json) { json["pre_tokenizer"] = {1}; }},
      {"behind ByteLevel",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Sequence"},
                                  {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}};
       }},
      {"regular expression ( is not understood",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}};
       }},
      {"split behavior Sideways",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Sideways"}};
       }},
      {"pattern",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", "x"}, {"behavior", "Isolated"}};
       }},
      {"space mark",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}};
       }},
      {"no piece for the space",
       [](Json& json) {
         json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}};
       }},
      {"exclude each other",
       [](Json& json) {
         json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}};
       }},
      {"post-processor Unheard",
       [](Json& json) {
         json["post_processor"] = {{"type", "Unheard"}};
       }},
      {"decoder WordPiece",
       [](Json& json) {
         json["decoder"] = {{"type", "WordPiece"}};
       }},
      {"added_tokens[0].id",
       [](Json& json) {
         json["added_tokens"] = {{{"content", "x"}}};
       }},
      {"added_tokens[0].content",
       [](Json& json) {
         json["added_tokens"] = {{{"id", 300}}};
       }},
      {"with content",
       [](Json& json) {
         json["added_tokens"] = {{{"id", 300}, {"content", ""}}};
       }},
      {"is \"a\" in model.vocab",
       [](Json& json) {
         json["added_tokens"] = {{{"id", 97}, {"content", "x"}}};
       }},
      {"two added tokens",
       [](Json& json) {
         json["added_tokens"] = {{{"id", 300}, {"content", "x1"}}, {{"id", 300}, {"content", "x2"}}};
       }},
      {"the vocabulary is empty",
       [](Json& json) {
         json["model"]["vocab"] = Json::object();
         json["added_tokens"] = Json::array();
       }},
      {"fewer nested",
       [](Json& json) {
         Json nested = {{"type", "NFC"}};
         for (int i = 0; i < 100; ++i) nested = {{"type", "Sequence"}, {"normalizers", Json::array({nested})}};
         json["normalizer"] = nested;
       }},
  };
  for (const auto& c : cases) {
    Json json = byte_level_json({});
    c.damage(json);
    const std::string message = json_error(json.dump());
    EXPECT_TRUE(message.starts_with("file.json: ")) << c.expected << ": " << message;
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.expected << ": " << message;
  }
}

TEST(malformed_tokenizer_json, is_refused_when_it_is_no_json) {
  for (const std::string& text : {std::string(""), std::string("{"), std::string("[]"), std::string("null"),
                                  std::string("{\"a\":\"\xFF\"}"), std::string("\0\0", 2), std::string(100000, '[')}) {
    EXPECT_TRUE(json_error(text).starts_with("file.json: ")) << text.substr(0, 20);
  }
}

TEST(malformed_tokenizer_json, is_refused_or_read_when_it_is_cut_short_anywhere) {
  const std::string text = byte_level_json({{"a", "b"}}).dump();
  for (size_t size = 0; size < text.size(); size += 7) {
    EXPECT_FALSE(json_error(text.substr(0, size)).empty()) << size;
  }
}

std::string model_error(const std::string& bytes) {
  return error_of([&] { SentencepieceTokenizer(bytes, "file.model"); });
}

TEST(malformed_sentencepiece_model, is_refused_with_its_place) {
  const std::string good = small_model().build();
  ASSERT_EQ(model_error(good), "");
  const struct {
    const char* expected;
    std::string bytes;
  } cases[] = {
      {"no pieces", ""},
      {"wire type", "this is a text file\n"},
      {"more than there are", std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 10) + "abc"},
      {"more than ten bytes", std::string("\x0A") + std::string(11, '\xFF')},
      {"inside a number", good + "\x0A\x80"},
      {"more than there are", good.substr(0, 5)},
      {"field number 0", std::string("\0\0", 2)},
      {"without text", std::string("\x0A\x00", 2)},
      {"unknown type of piece", std::string("\x0A\x05\x0A\x01"
                                            "a\x18\x09",
                                            7)},
      {"unknown model type", good + std::string("\x12\x02\x18\x09", 4)},
      {"a number where a message belongs", std::string("\x08\x01", 2)},
  };
  for (const auto& c : cases) {
    const std::string message = model_error(c.bytes);
    EXPECT_TRUE(message.starts_with("file.model: ")) << c.expected << ": " << message;
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.expected << ": " << message;
  }
  auto twice = small_model();
  twice.pieces.push_back({"the", 0, 1});
  twice.pieces.push_back({"the", 0, 1});
  EXPECT_NE(model_error(twice.build()).find("already defined"), std::string::npos);
  auto no_unknown = small_model();
  no_unknown.pieces.erase(no_unknown.pieces.begin());
  EXPECT_NE(model_error(no_unknown.build()), "");
  auto odd_byte = small_model();
  odd_byte.pieces[10].text = "<0xZZ>";
  EXPECT_NE(model_error(odd_byte.build()).find("<0xNN>"), std::string::npos);
}

TEST(malformed_sentencepiece_model, never_crashes_on_damaged_bytes) {
  const std::string good = small_model().build();
  Random random(6);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = good;
    if (round % 3 == 0) {
      bytes.resize(random.below(bytes.size()));
    } else {
      for (uint64_t n = 1 + random.below(4); n > 0; --n)
        bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    }
    if (!model_error(bytes).empty()) ++refused;
  }
  EXPECT_GT(refused, 100);
}

TEST(tokenizer_open, chooses_by_name_and_content) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "verbatim_tokenizer_open";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  };
  EXPECT_NE(error_of([&] { (void)Tokenizer::open(folder); }).find("found neither"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)Tokenizer::open(folder / "missing.model"); }), "");
  const auto model = write("tokenizer.model", small_model().build());
  EXPECT_EQ(Tokenizer::open(model)->file_name(), "tokenizer.model");
  EXPECT_EQ(Tokenizer::open(folder)->file_name(), "tokenizer.model");
  EXPECT_EQ(Tokenizer::open(write("other.spm", small_model().build()))->file_name(), "tokenizer.model");
  const auto json = write("vocabulary.json", byte_level_json({}).dump());
  EXPECT_EQ(Tokenizer::open(json)->file_name(), "tokenizer.json");
  EXPECT_EQ(Tokenizer::open(write("vocabulary.bpe", byte_level_json({}).dump()))->file_name(), "tokenizer.json");
  EXPECT_EQ(Tokenizer::open(json)->file_bytes(), read_file(json));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace verbatim
