#include "blocks/what_if.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Figures: the specification, section 6.

TEST(what_if, counts_the_published_size_of_llama3_8b) {
  const LanguageModelSize size = count_with_vocabulary(known_language_model("llama3-8b"));
  EXPECT_EQ(size.embedding, 525336576u);
  EXPECT_EQ(size.head, 525336576u);
  EXPECT_EQ(size.attention, 41943040u);
  EXPECT_EQ(size.feed_forward, 176160768u);
  EXPECT_EQ(size.layers, 6979584000u);
  EXPECT_EQ(size.total(), 8030261248u);
}

TEST(what_if, counts_the_published_size_of_llama32_1b) {
  EXPECT_EQ(count_with_vocabulary(known_language_model("llama3.2-1b")).total(), 1235814400u);
}

TEST(what_if, repeats_the_sum_of_the_article) {
  const LanguageModelSize size = count_with_vocabulary(known_language_model("tokun-article"));
  EXPECT_EQ(size.embedding, 524288000u);
  EXPECT_EQ(size.attention, 67108864u);
  EXPECT_EQ(size.feed_forward, 201326592u);
  EXPECT_EQ(size.layers, uint64_t{32} * 268443648);
  EXPECT_EQ(size.head + size.last_norm, 524292096u);  // the article counts the last norm with the head
  EXPECT_EQ(size.total(), 9638776832u);
}

TEST(what_if, saves_more_than_a_billion_parameters_with_the_article_s_numbers) {
  const LanguageModelShape& shape = known_language_model("tokun-article");
  const LanguageModelSize before = count_with_vocabulary(shape);
  const LanguageModelSize after = count_with_autoencoder(shape, {.chain = parse_chain("4x16")});
  EXPECT_EQ(before.total() - after.total(), 1043708160u);
  EXPECT_EQ(after.embedding, 1382912u + 1048576);
  EXPECT_EQ(after.head, 1387776u + 1048576);
  EXPECT_EQ(after.layers, before.layers);
}

// 2 * (525336576 - 1048576) - 1717248 by hand: about 1.04 billion.
TEST(what_if, saves_as_much_of_the_real_model) {
  const LanguageModelShape& shape = known_language_model("llama3-8b");
  const LanguageModelSize before = count_with_vocabulary(shape);
  const LanguageModelSize after = count_with_autoencoder(shape, {.chain = parse_chain("4x4x4")});
  EXPECT_EQ(before.total() - after.total(), 1046858752u);
  EXPECT_NEAR(static_cast<double>(before.total() - after.total()) / static_cast<double>(before.total()), 0.13, 0.001);
}

TEST(what_if, shrinks_layers_by_256_and_not_by_65536_when_the_width_shrinks_by_16) {
  const LanguageModelShape& narrow = known_language_model("tokun-article-256");
  const LanguageModelSize size = count_with_vocabulary(narrow);
  const LanguageModelSize wide = count_with_vocabulary(known_language_model("tokun-article"));
  EXPECT_EQ(wide.attention / size.attention, 256u);
  EXPECT_EQ(wide.feed_forward / size.feed_forward, 256u);
  EXPECT_EQ(size.layers + size.last_norm, 33571072u);
  // No matrix is needed between equal widths.
  EXPECT_EQ(count_with_autoencoder(narrow, {.chain = parse_chain("4x16")}).total(), 36341760u);
}

// One position of 4x4x4: 15.2 million multiplications in tokun (950 thousand for each of 16 characters) and two
// matrices of 256 x 4096, in the place of a head of 525 million.
TEST(what_if, counts_multiplications_for_one_position) {
  const LanguageModelShape& shape = known_language_model("llama3-8b");
  const LanguageModelSize before = count_with_vocabulary(shape);
  EXPECT_EQ(before.embedding_multiplications, 0u);
  EXPECT_EQ(before.head_multiplications, 525336576u);
  EXPECT_EQ(before.layers_multiplications, uint64_t{32} * (41943040 + 176160768));
  EXPECT_EQ(before.multiplications_each_earlier, uint64_t{32} * 2 * 4096);
  const LanguageModelSize after = count_with_autoencoder(shape, {.chain = parse_chain("4x4x4")});
  EXPECT_EQ(after.embedding_multiplications + after.head_multiplications, uint64_t{950272} * 16 + 2 * 1048576);
  EXPECT_EQ(after.layers_multiplications, before.layers_multiplications);
}

TEST(what_if, keeps_no_second_table_where_the_head_is_tied) {
  const LanguageModelShape& shape = known_language_model("llama3.2-1b");
  const LanguageModelSize size = count_with_vocabulary(shape);
  EXPECT_EQ(size.head, 0u);
  EXPECT_EQ(size.head_multiplications, uint64_t{128256} * 2048);
  const LanguageModelSize after = count_with_autoencoder(shape, {});
  EXPECT_EQ(size.total() - after.total(), uint64_t{128256} * 2048 - 2 * 256 * 2048 - 1717248);
}

TEST(what_if, refuses_unknown_models_with_the_nearest) {
  EXPECT_THAT(
      [] { (void)known_language_model("llama3-8"); },
      ThrowsMessage<InputError>(::testing::AllOf(HasSubstr("did you mean 'llama3-8b'"), HasSubstr("tokun-article"))));
}

}  // namespace
}  // namespace verbatim
