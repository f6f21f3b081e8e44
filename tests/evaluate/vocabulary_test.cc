#include "evaluate/vocabulary.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "families/byte/byte_encoder.h"
#include "families/tfree/tfree_segmenter.h"
#include "families/token/token_encoder.h"

namespace verbatim {
namespace {

class Texts final : public DocumentSource {
 public:
  explicit Texts(std::vector<std::string> texts) : texts_(std::move(texts)) {}
  [[nodiscard]] uint64_t document_count() const override { return texts_.size(); }
  [[nodiscard]] std::string_view document(uint64_t index) const override { return texts_[index]; }
  [[nodiscard]] uint64_t total_bytes() const override {
    uint64_t total = 0;
    for (const std::string& text : texts_) total += text.size();
    return total;
  }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::string name_ = "test";
  std::vector<std::string> texts_;
};

TEST(fertility, counts_positions_by_word_and_script) {
  const Texts texts({"one two, three\n", "", "\xD0\xBC\xD0\xB8\xD1\x80 one"});
  const FertilityReport bytes = measure_fertility(ByteSegmenter(ByteEncoderSettings()), texts);
  EXPECT_EQ(bytes.total.words, 5U);
  EXPECT_EQ(bytes.total.positions, 15U + 10U);
  EXPECT_EQ(bytes.total.characters, 15U + 7U);
  const Fertility& latin = bytes.scripts[static_cast<size_t>(Script::kLatin)];
  EXPECT_EQ(latin.words, 4U);
  EXPECT_EQ(latin.positions, 3U + 4U + 5U + 3U);  // without white space
  EXPECT_EQ(bytes.scripts[static_cast<size_t>(Script::kCyrillic)].positions, 6U);
  const FertilityReport words = measure_fertility(TfreeSegmenter({}, "", "<|endoftext|>"), texts);
  EXPECT_EQ(words.scripts[static_cast<size_t>(Script::kLatin)].positions, 5U);  // one two , three one
  EXPECT_EQ(words.scripts[static_cast<size_t>(Script::kCyrillic)].positions, 1U);
  EXPECT_EQ(words.total.positions, 7U);  // and the line feed
}

TEST(duplicates, counts_groups_of_equal_entries) {
  const DuplicateReport report = measure_duplicates({"the", " the", "The", "\xE2\x96\x81The", "dog", "12", "1", "2"});
  EXPECT_EQ(report.entries, 8U);
  EXPECT_DOUBLE_EQ(report.total, 3.0 / 8);    // all four spellings of "the" are one group
  EXPECT_DOUBLE_EQ(report.capital, 1.0 / 8);  // The, the
  EXPECT_DOUBLE_EQ(report.blank, 2.0 / 8);
  EXPECT_DOUBLE_EQ(report.digits, 1.0 / 8);
  EXPECT_EQ(measure_duplicates({}).total, 0);
}

TEST(duplicates, repeats_the_published_figures_of_mistral) {
  const std::filesystem::path file = std::filesystem::path(VERBATIM_SHARED) / "data/tokenizers/mistral-v1.model";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "the tokenizer is not there: " << file.string();
  const DuplicateReport report = measure_duplicates(TokenSegmenter(Tokenizer::open(file)).vocabulary());
  // T-Free's paper, table 1: 31.47 (19.10 / 16.45 / 0.00).
  EXPECT_EQ(report.entries, 32000U);
  EXPECT_NEAR(100 * report.total, 31.47, 0.006);
  EXPECT_NEAR(100 * report.capital, 19.10, 0.006);
  EXPECT_NEAR(100 * report.blank, 16.45, 0.006);
  EXPECT_EQ(report.digits, 0);
}

}  // namespace
}  // namespace verbatim
