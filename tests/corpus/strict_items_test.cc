#include "corpus/strict_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "corpus/temporary_folder.h"

// The items of the reference, with its own way to split words, are repeated in tests/words/strict_items_test.cc.

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

// Words are what lies between blanks; "<end>" is a word of its own.
std::vector<std::string> split_blanks(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' || text.substr(i).starts_with("<end>")) finish();
    if (text[i] != ' ') word += text[i];
  }
  finish();
  return words;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// An index with these entries, each a list of texts; the reader of the reference loses the last one.
AlignedIndex index_of(const TemporaryFolder& folder, const std::vector<std::vector<std::string>>& entries) {
  std::string data;
  std::vector<uint32_t> indices;
  std::vector<uint16_t> lengths;
  std::vector<uint64_t> offsets;
  for (size_t e = 0; e < entries.size(); ++e) {
    for (const std::string& text : entries[e]) {
      indices.push_back(static_cast<uint32_t>(e));
      lengths.push_back(static_cast<uint16_t>(text.size()));
      offsets.push_back(data.size());
      data += text;
    }
  }
  folder.write("m.bin", data);
  folder.write("m.indices.bin", bytes_of(indices));
  folder.write("m.lengths.bin", bytes_of(lengths));
  folder.write("m.offsets.bin", bytes_of(offsets));
  return AlignedIndex::open(folder / "m");
}

std::string targets_of(const StrictItem& item) {
  std::string text;
  for (const StrictItem::Position& position : item.words) text += (text.empty() ? "" : " ") + position.target;
  return text;
}

StrictItemOptions options_of(uint64_t length, bool reset_positions = false) {
  return {.length = length, .reset_positions = reset_positions, .end_of_text = "<end>"};
}

TEST(strict_items, jump_by_the_number_of_texts_to_fill_up) {
  const TemporaryFolder folder;
  const AlignedIndex index =
      index_of(folder, {{"a b", " c d "}, {"e f"}, {"g h"}, {"i j", "k l", "m n"}, {"never read"}});
  const std::vector<uint32_t> permutation = {2, 0, 3, 1};
  ASSERT_EQ(index.reference_entry_count(), permutation.size());
  // Place 1 is entry 0 with two texts, so place 3 follows (entry 1), then place 0 (entry 2), then place 1 again.
  const StrictItem item = pretraining_item(index, permutation, 1, split_blanks, options_of(11));
  EXPECT_EQ(targets_of(item), "b <end> d <end> f <end> h <end> b <end> d");
  ASSERT_EQ(item.words.size(), 11u);
  EXPECT_EQ(item.words[0].input, "a");
  EXPECT_EQ(item.words[2].input, "c");
  EXPECT_THAT(item.target_is_end, ElementsAre(0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0));
  EXPECT_THAT(item.positions, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  EXPECT_EQ(item.weights, std::vector<float>(11, 1.0F));
  // A full item takes no further entry.
  EXPECT_EQ(targets_of(pretraining_item(index, permutation, 0, split_blanks, options_of(2))), "h <end>");
  EXPECT_EQ(targets_of(pretraining_item(index, permutation, 2, split_blanks, options_of(5))), "j <end> l <end> n");
}

TEST(strict_items, count_positions_of_every_text_from_0_when_asked) {
  const TemporaryFolder folder;
  const AlignedIndex index = index_of(folder, {{"a b c", "d e"}, {"x"}});
  const std::vector<uint32_t> permutation = {0};
  const StrictItem item = pretraining_item(index, permutation, 0, split_blanks, options_of(7, true));
  EXPECT_THAT(item.positions, ElementsAre(0, 1, 2, 0, 1, 0, 1));
}

TEST(strict_items, refuse_texts_of_one_word) {
  const TemporaryFolder folder;
  const AlignedIndex index = index_of(folder, {{"a b", "  "}, {"x"}});
  const std::vector<uint32_t> permutation = {0};
  EXPECT_THAT(
      message_of<InputError>([&] { (void)pretraining_item(index, permutation, 0, split_blanks, options_of(100)); }),
      HasSubstr("entry 0, text 1: expected a text of at least two words"));
  EXPECT_THAT(message_of<InputError>([&] {
                (void)instruct_item({{true, "alone"}}, split_blanks, options_of(4), "document 7");
              }),
              HasSubstr("document 7"));
}

TEST(strict_items, weigh_the_words_of_a_conversation_by_their_pieces) {
  const InstructDocument document = {{false, " who are you <end>"}, {true, "\n\n I am <end> "}, {false, "and you"}};
  const StrictItem item = instruct_item(document, split_blanks, options_of(10), "d");
  EXPECT_EQ(targets_of(item), "are you <end> I am <end> and you");
  EXPECT_THAT(item.weights, ElementsAre(0, 0, 0, 1, 1, 1, 0, 0, 0, 0));
  EXPECT_THAT(item.target_is_end, ElementsAre(0, 0, 1, 0, 0, 1, 0, 0, 1, 1));
  EXPECT_THAT(item.positions, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  const StrictItem cut = instruct_item(document, split_blanks, options_of(4), "d");
  EXPECT_EQ(targets_of(cut), "are you <end> I");
  EXPECT_THAT(cut.weights, ElementsAre(0, 0, 0, 1));
}

// The words stand for the reference's splitter.
TEST(strict_items, are_those_of_the_reference_for_known_words) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const auto golden = nlohmann::json::parse(content_of(kGolden / "instruct.expected.json"))["items"]["0"];
  const std::string header = "<|start_header_id|>assistant<|end_header_id|>";
  const SplitText split = [&](std::string_view text) -> std::vector<std::string> {
    if (text == "A mouse is small.<|endoftext|>") return {"A", "mouse", "is", "small", ".", "<|endoftext|>"};
    EXPECT_EQ(text, "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nName a small animal.<|endoftext|>" +
                        header);
    return {"<|begin_of_text|>",
            "<|start_header_id|>",
            "user",
            "<|end_header_id|>",
            "<|2<-\n->|>",
            "Name",
            "a",
            "small",
            "animal",
            ".",
            "<|endoftext|>",
            "<|start_header_id|>",
            "assistant",
            "<|end_header_id|>"};
  };
  const MemoryMap map = MemoryMap::open(kGolden / "instruct");
  const StrictItem item = instruct_item(parse_instruct_document(map.document(0), "0"), split, {.length = 64}, "0");
  EXPECT_EQ(item.weights, golden["loss_weights"].get<std::vector<float>>());
  EXPECT_EQ(item.target_is_end, golden["target_is_eot"].get<std::vector<uint8_t>>());
  EXPECT_EQ(item.positions, golden["position_ids"].get<std::vector<int32_t>>());
  for (size_t i = 0; i < 64; ++i) {
    if (i < item.words.size()) {
      EXPECT_EQ(item.words[i].target, golden["target_words"][i]);
      EXPECT_EQ(golden["padding"][i], 0);
    } else {
      EXPECT_TRUE(golden["target_words"][i].is_null());
      EXPECT_EQ(golden["padding"][i], 1);
    }
  }
}

TEST(strict_items, are_cut_into_segments_as_by_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const auto items = nlohmann::json::parse(content_of(kGolden / "instruct.expected.json"))["items"];
  std::vector<StrictItem> batch(2);
  for (const size_t i : {0, 1}) {
    batch[i].target_is_end = items[std::to_string(i)]["target_is_eot"].get<std::vector<uint8_t>>();
  }
  const auto golden = nlohmann::json::parse(content_of(kGolden / "collate.expected.json"));
  EXPECT_EQ(segment_boundaries(batch, true), golden["cu_seqlens_with_reset"].get<std::vector<int64_t>>());
  EXPECT_EQ(segment_boundaries(batch, false), golden["cu_seqlens_without_reset"].get<std::vector<int64_t>>());
}

TEST(strict_items, strip_white_space_as_python_does) {
  EXPECT_EQ(strip_text(" \t\n\v\f\r\x1c\x1f a b \xc2\x85\xc2\xa0"), "a b");
  EXPECT_EQ(strip_text("\xe3\x80\x80\xe2\x80\x8a x\xe2\x80\xa9\xe2\x81\x9f"), "x");
  EXPECT_EQ(strip_text("\xe2\x80\x8b"), "\xe2\x80\x8b");  // zero width space stays
  EXPECT_EQ(strip_text("\xff \xff"), "\xff \xff");
  EXPECT_EQ(strip_text(" \n "), "");
  EXPECT_EQ(strip_text(""), "");
}

}  // namespace
}  // namespace verbatim
