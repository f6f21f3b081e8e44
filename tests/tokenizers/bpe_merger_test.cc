#include "tokenizers/bpe_merger.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tokenizers/reference/bpe_reference.h"

namespace verbatim {
namespace {

// Random vocabularies over three letters: dense in overlaps, repeats and merges of merges.
TEST(bpe_merger, merges_like_the_definition_for_short_and_long_words) {
  Random random(3);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    BpeMerger merger;
    for (uint32_t rank = 0; rank < 25; ++rank) {
      const auto left = random.below(tokens.size());
      const auto right = random.below(tokens.size());
      const std::pair<std::string, std::string> merge = {tokens[left], tokens[right]};
      bool known = false;
      for (const std::string& token : tokens) known = known || token == merge.first + merge.second;
      if (known) continue;
      merger.add(static_cast<int32_t>(left), static_cast<int32_t>(right), rank, static_cast<int32_t>(tokens.size()));
      tokens.push_back(merge.first + merge.second);
      merges.push_back(merge);
    }
    BpeMerger::Scratch scratch;
    for (const size_t size : {0, 1, 2, 3, 7, 30, 48, 49, 50, 200}) {
      std::vector<int32_t> symbols;
      std::vector<std::string> texts;
      for (size_t i = 0; i < size; ++i) {
        symbols.push_back(static_cast<int32_t>(random.below(3)));
        texts.push_back(tokens[static_cast<size_t>(symbols.back())]);
      }
      merger.merge(symbols, scratch);
      std::vector<std::string> got;
      for (const int32_t symbol : symbols) got.push_back(tokens[static_cast<size_t>(symbol)]);
      ASSERT_EQ(got, reference::merge_by_definition(texts, merges)) << "round " << round << ", " << size << " symbols";
    }
  }
}

TEST(bpe_merger, a_later_entry_for_a_pair_replaces_the_earlier_one) {
  BpeMerger merger;
  merger.add(1, 2, 5, 10);
  merger.add(1, 2, 3, 11);
  EXPECT_EQ(merger.find(1, 2).rank, 3u);
  EXPECT_EQ(merger.find(1, 2).result, 11);
  EXPECT_EQ(merger.find(2, 1).rank, BpeMerger::kNoRank);
}

}  // namespace
}  // namespace verbatim
