// What every lossless tokenizer promises, checked for every kind of tokenizer there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "tokenizers/bpe_tokenizer.h"
#include "tokenizers/bpe_trainer.h"
#include "tokenizers/model_builder.h"
#include "tokenizers/sentencepiece_tokenizer.h"
#include "tokenizers/tokenizer.h"

namespace verbatim {
namespace {

using testing_models::awkward_texts;
using testing_models::byte_level_json;
using testing_models::llama2_style_json;
using testing_models::small_model;

std::shared_ptr<const Tokenizer> shared_file(const char* name) {
  const std::filesystem::path path = std::filesystem::path(VERBATIM_SHARED) / name;
  return std::filesystem::exists(path) ? Tokenizer::open(path) : nullptr;
}

std::shared_ptr<const Tokenizer> trained(WordPattern pattern) {
  BpeTrainer trainer({.vocabulary_size = 400, .min_count = 1, .pattern = pattern});
  for (const std::string& text : awkward_texts()) trainer.add(text);
  return std::make_shared<BpeTokenizer>(trainer.train(), "trained");
}

struct Candidate {
  const char* name;
  std::function<std::shared_ptr<const Tokenizer>()> make;  // null: its file is not here
};

const Candidate kCandidates[] = {
    {"sentencepiece_small", [] { return std::make_shared<SentencepieceTokenizer>(small_model().build(), "small"); }},
    {"sentencepiece_without_prefix",
     [] {
       auto builder = small_model();
       builder.dummy_prefix = false;
       return std::make_shared<SentencepieceTokenizer>(builder.build(), "small");
     }},
    {"sentencepiece_removing_spaces",
     [] {
       auto builder = small_model();
       builder.remove_extra_spaces = true;
       return std::make_shared<SentencepieceTokenizer>(builder.build(), "small");
     }},
    {"sentencepiece_unigram",
     [] {
       auto builder = small_model();
       builder.algorithm = 1;
       return std::make_shared<SentencepieceTokenizer>(builder.build(), "small");
     }},
    {"sentencepiece_piece_across_words",
     [] {
       auto builder = small_model();
       builder.pieces.push_back({"e\xE2\x96\x81", -40, 1});
       return std::make_shared<SentencepieceTokenizer>(builder.build(), "small");
     }},
    {"llama2_style_json",
     [] {
       const std::string model = small_model().build();
       return std::make_shared<BpeTokenizer>(llama2_style_json(SentencepieceModel::parse(model, "small")).dump(),
                                             "json");
     }},
    {"metaspace_json",
     [] {
       auto json = llama2_style_json(SentencepieceModel::parse(small_model().build(), "small"));
       json["normalizer"] = nullptr;
       json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"prepend_scheme", "first"}};
       return std::make_shared<BpeTokenizer>(json.dump(), "json");
     }},
    {"byte_level_gpt2", [] { return trained(WordPattern::kGpt2); }},
    {"byte_level_llama3", [] { return trained(WordPattern::kLlama3); }},
    {"byte_level_qwen2", [] { return trained(WordPattern::kQwen2); }},
    {"byte_level_with_normal_form_and_added_tokens",
     [] {
       auto json = byte_level_json({{"t", "h"}, {"th", "e"}, {"\xC4\xA0", "the"}});
       json["normalizer"] = {{"type", "NFC"}};
       json["added_tokens"].push_back({{"id", 300}, {"content", "[GO]"}, {"lstrip", true}, {"rstrip", true}});
       json["added_tokens"].push_back({{"id", 301}, {"content", "the"}, {"single_word", true}});
       return std::make_shared<BpeTokenizer>(json.dump(), "json");
     }},
    {"byte_level_with_any_regex",
     [] {
       auto json = byte_level_json({{"t", "h"}, {"th", "e"}});
       json["pre_tokenizer"] = {
           {"type", "Sequence"},
           {"pretokenizers",
            {{{"type", "Split"}, {"pattern", {{"Regex", "[\\r\\n]"}}}, {"behavior", "Isolated"}},
             {{"type", "Split"}, {"pattern", {{"Regex", "\\s?\\p{L}+"}}}, {"behavior", "Removed"}, {"invert", true}},
             {{"type", "Digits"}, {"individual_digits", true}},
             {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}}}}};
       return std::make_shared<BpeTokenizer>(json.dump(), "json");
     }},
    {"mistral_v1", [] { return shared_file("data/tokenizers/mistral-v1.model"); }},
    {"mistral_v3", [] { return shared_file("data/tokenizers/mistral-v3.model"); }},
    {"llama2", [] { return shared_file("data/tokenizers/llama2.model"); }},
    {"stories260K", [] { return shared_file("data/models/stories260K/tok512.model"); }},
};

class tokenizer_contract : public testing::TestWithParam<Candidate> {
 protected:
  void SetUp() override {
    tokenizer_ = GetParam().make();
    if (!tokenizer_) GTEST_SKIP() << "the shared folder with this model is not here";
    ASSERT_TRUE(tokenizer_->is_lossless());
  }

  void expect_lossless(const std::string& text) {
    for (const TextStart start : {TextStart::kDocument, TextStart::kContinuation}) {
      const Tokens tokens = tokenizer_->encode(text, start);
      ASSERT_EQ(tokenizer_->decode(tokens.ids, start), text) << testing::PrintToString(text);
      ASSERT_EQ(tokens.ends.size(), tokens.ids.size());
      ASSERT_EQ(tokens.ids.empty(), text.empty());
      size_t begin = 0;
      for (size_t i = 0; i < tokens.ids.size(); ++i) {
        const TokenBytes& token = tokenizer_->token_bytes(tokens.ids[i]);
        ASSERT_NE(token.kind, TokenKind::kControl);
        ASSERT_NE(token.kind, TokenKind::kUnknown);
        const size_t end = tokens.ends[i];
        ASSERT_GE(end, begin);
        ASSERT_LE(end, text.size());
        const std::string covered = text.substr(begin, end - begin);
        if (i == 0 && start == TextStart::kDocument) {
          ASSERT_TRUE(token.bytes == covered || token.bytes == " " + covered) << testing::PrintToString(text);
        } else {
          ASSERT_EQ(token.bytes, covered) << testing::PrintToString(text);
        }
        begin = end;
      }
      ASSERT_EQ(begin, text.size());
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_P(tokenizer_contract, gives_back_awkward_texts_and_tiles_them) {
  for (const std::string& text : awkward_texts()) {
    expect_lossless(text);
    if (HasFatalFailure()) return;
  }
}

TEST_P(tokenizer_contract, gives_back_random_bytes_and_random_pieces_of_text) {
  Random random(20);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (uint64_t n = random.below(40); n > 0; --n) {
      switch (random.below(4)) {
        case 0:
          text.push_back(static_cast<char>(random.below(256)));
          break;
        case 1:
          text.push_back(' ');
          break;
        default: {
          const std::string& source = awkward_texts()[random.below(awkward_texts().size())];
          if (!source.empty()) text += source.substr(random.below(source.size()), 1 + random.below(8));
        }
      }
    }
    expect_lossless(text);
    if (HasFatalFailure()) {
      ADD_FAILURE() << "round " << round;
      return;
    }
  }
}

TEST_P(tokenizer_contract, a_document_may_be_cut_anywhere_and_still_reads_the_same) {
  const std::string text =
      "the thing \xC3\xBC"
      "ber\xE2\x96\x81 in 12 \xD0\xBF\xD1\x80\xD0\xB8 don't \xFF stop";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const Tokens first = tokenizer_->encode(text.substr(0, cut));
    const Tokens second =
        tokenizer_->encode(text.substr(cut), cut == 0 ? TextStart::kDocument : TextStart::kContinuation);
    std::vector<int32_t> ids = first.ids;
    ids.insert(ids.end(), second.ids.begin(), second.ids.end());
    EXPECT_EQ(tokenizer_->decode(ids), text) << "cut at " << cut;
  }
}

TEST_P(tokenizer_contract, gives_the_same_ids_on_every_thread_and_every_time) {
  std::vector<std::vector<int32_t>> want;
  for (const std::string& text : awkward_texts()) want.push_back(tokenizer_->encode(text).ids);
  std::vector<int> wrong(4, 0);
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < 20; ++round) {
          for (size_t i = 0; i < want.size(); ++i) {
            if (tokenizer_->encode(awkward_texts()[i]).ids != want[i]) ++wrong[t];
          }
        }
      });
    }
  }
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_P(tokenizer_contract, encodes_a_long_line_as_its_words) {
  // Words in many repetitions give the ids of the words: nothing depends on the length of the line.
  std::string line;
  for (int i = 0; i < 5000; ++i) line += " the thing";
  const Tokens tokens = tokenizer_->encode(line, TextStart::kContinuation);
  const Tokens once = tokenizer_->encode(" the thing", TextStart::kContinuation);
  ASSERT_EQ(tokens.ids.size(), once.ids.size() * 5000);
  for (size_t i = 0; i < tokens.ids.size(); ++i) ASSERT_EQ(tokens.ids[i], once.ids[i % once.ids.size()]);
  // One word of 100,000 letters.
  expect_lossless(std::string(100000, 'a') + "the" + std::string(1000, 't'));
}

TEST_P(tokenizer_contract, refuses_ids_out_of_range) {
  const auto size = static_cast<int32_t>(tokenizer_->vocabulary_size());
  for (const int32_t id : {-1, size, INT32_MAX, INT32_MIN}) {
    EXPECT_THROW((void)tokenizer_->token_bytes(id), InputError);
    EXPECT_THROW((void)tokenizer_->decode({id}), InputError);
    EXPECT_THROW((void)tokenizer_->decode_like_original({id}), InputError);
  }
  EXPECT_NO_THROW((void)tokenizer_->token_bytes(size - 1));
}

TEST_P(tokenizer_contract, recognises_control_spellings_only_where_asked) {
  const int32_t end = tokenizer_->end_id();
  if (end < 0) GTEST_SKIP() << "no end symbol";
  std::string spelling;
  for (const char* name : {"</s>", "<|endoftext|>"}) {
    if (tokenizer_->encode_with_special(name).ids == std::vector<int32_t>{end}) spelling = name;
  }
  ASSERT_FALSE(spelling.empty());
  const std::string text = "the" + spelling + " thing";
  const Tokens tokens = tokenizer_->encode_with_special(text);
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), end), 1);
  EXPECT_EQ(tokenizer_->decode(tokens.ids), "the thing");
  EXPECT_EQ(tokens.ends.back(), text.size());
  const size_t place = static_cast<size_t>(std::find(tokens.ids.begin(), tokens.ids.end(), end) - tokens.ids.begin());
  EXPECT_EQ(tokens.ends[place], 3 + spelling.size());
  const Tokens plain = tokenizer_->encode(text);
  EXPECT_EQ(std::count(plain.ids.begin(), plain.ids.end(), end), 0);
}

INSTANTIATE_TEST_SUITE_P(all, tokenizer_contract, testing::ValuesIn(kCandidates),
                         [](const testing::TestParamInfo<Candidate>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace verbatim
