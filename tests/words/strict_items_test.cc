#include "corpus/strict_items.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/hash.h"
#include "corpus/strict_sampler.h"
#include "words/word_splitter.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

Json golden(const char* name) { return Json::parse(read_file(kGolden / name)); }

SplitText strict_split() {
  return [splitter = WordSplitter(SplitOptions::strict())](std::string_view text) {
    Words words;
    splitter.split(text, words);
    std::vector<std::string> list;
    for (const Word& word : words.list) list.emplace_back(word.text);
    return list;
  };
}

void expect_item(const StrictItem& item, const Json& expected, const std::string& what) {
  const size_t length = expected["target_words"].size();
  for (size_t i = 0; i < length; ++i) {
    const Json& word = expected["target_words"][i];
    EXPECT_EQ(expected["padding"][i], i < item.words.size() ? 0 : 1) << what << ", position " << i;
    if (i < item.words.size()) {
      EXPECT_EQ(item.words[i].target, word) << what << ", position " << i;
      if (i > 0 && item.target_is_end[i - 1] == 0) {
        EXPECT_EQ(item.words[i].input, item.words[i - 1].target);
      }
    } else {
      EXPECT_TRUE(word.is_null()) << what << ", position " << i;
    }
  }
  EXPECT_EQ(item.weights, expected["loss_weights"].get<std::vector<float>>()) << what;
  EXPECT_EQ(item.target_is_end, expected["target_is_eot"].get<std::vector<uint8_t>>()) << what;
  EXPECT_EQ(item.positions, expected["position_ids"].get<std::vector<int32_t>>()) << what;
}

TEST(strict_items_of_words, are_the_pretraining_items_of_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const Json expected = golden("dataset.expected.json");
  const AlignedIndex entries = AlignedIndex::open(kGolden / "corpus");
  const std::vector<uint32_t> permutation = legacy_permutation(entries.reference_entry_count(), expected["seed"]);
  const SplitText split = strict_split();
  for (const auto& [index, item] : expected["items"].items()) {
    expect_item(pretraining_item(entries, permutation, std::stoull(index), split, {.length = 256}), item,
                "item " + index);
  }

  const Json& long_item = expected["long_item_0"];
  const StrictItem item = pretraining_item(entries, permutation, 0, split, {.length = long_item["sequence_length"]});
  std::vector<int> ends;
  std::string targets;
  for (size_t i = 0; i < item.words.size(); ++i) {
    if (item.target_is_end[i] != 0) ends.push_back(static_cast<int>(i));
    targets += (i == 0 ? "" : "\n") + item.words[i].target;
  }
  EXPECT_EQ(ends, long_item["eot_positions"].get<std::vector<int>>());
  EXPECT_EQ(sha256_hex(targets), long_item["sha256_of_target_words_joined_by_newline"].get<std::string>());
}

TEST(strict_items_of_words, are_the_conversations_of_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const Json expected = golden("instruct.expected.json");
  const MemoryMap map = MemoryMap::open(kGolden / "instruct");
  const std::vector<uint32_t> permutation = expected["random_index"];
  const SplitText split = strict_split();
  std::vector<StrictItem> items;
  for (uint64_t i = 0; i < map.document_count(); ++i) {
    const std::string what = "item " + std::to_string(i);
    items.push_back(instruct_item(parse_instruct_document(map.document(permutation[i]), what), split,
                                  {.length = expected["sequence_length"]}, what));
    expect_item(items.back(), expected["items"][std::to_string(i)], what);
  }
  const Json collated = golden("collate.expected.json");
  const std::span<const StrictItem> batch(items.data(), 2);
  EXPECT_EQ(segment_boundaries(batch, true), collated["cu_seqlens_with_reset"].get<std::vector<int64_t>>());
}

}  // namespace
}  // namespace verbatim
