#include "train/batch_source.h"

#include <gtest/gtest.h>

#include "corpus/corpus.h"
#include "model/language_model.h"
#include "train/training_run.h"

namespace verbatim {
namespace {

constexpr SamplerOptions kOptions = {.window_bytes = 64, .batch_bytes = 256, .seed = 5};

class batch_source : public ::testing::TestWithParam<size_t> {};

// The definition: the sampler's pieces, laid out one batch after the other.
TEST_P(batch_source, gives_the_samplers_batches_in_order) {
  const testing::ScratchFolder folder;
  const Corpus corpus = Corpus::open(testing::make_corpus(folder, "data", testing::sample_documents(6, 300)));
  const auto model = LanguageModel::create(testing::make_settings(testing::kByteModel)->model, 1, ".");
  PieceSampler sampler(corpus.train(), kOptions);
  for (int i = 0; i < 4; ++i) (void)sampler.next();
  const SamplerPosition start = sampler.position();
  BatchSource source(corpus.train(), model->segmenter(), kOptions, start, /*threads=*/GetParam(), /*ahead=*/5);

  uint64_t scored = 0;
  for (int i = 0; i < 40; ++i) {
    const SamplerPosition taken_from = sampler.position();
    std::vector<TextPiece> pieces;
    for (const Piece& piece : sampler.next()) {
      const std::string_view document = corpus.train().document(piece.document);
      pieces.push_back({.bytes = document.substr(piece.begin, piece.end - piece.begin),
                        .starts_document = piece.begin == 0,
                        .ends_document = piece.end == document.size()});
    }
    const PositionBatch expected = make_batch(model->segmenter(), pieces);
    const PreparedBatch given = source.next();
    ASSERT_EQ(given.taken_from, taken_from) << "batch " << i;
    ASSERT_EQ(given.next, sampler.position()) << "batch " << i;
    ASSERT_EQ(given.batch.ids, expected.ids) << "batch " << i;
    ASSERT_EQ(given.batch.targets, expected.targets) << "batch " << i;
    ASSERT_EQ(given.batch.offsets, expected.offsets) << "batch " << i;
    scored += given.batch.scored_bytes;
  }
  EXPECT_GT(scored, corpus.train().total_bytes()) << "more than an epoch was compared";
}

TEST(append_partly_learnt, gives_targets_to_learnt_stretches_only) {
  const auto model = LanguageModel::create(testing::make_settings(testing::kByteModel)->model, 1, ".");
  const std::string text = "ask answer end";
  PositionBatch batch;
  append_partly_learnt(batch, model->segmenter(), text, {{.begin = 4, .end = 10}}, 100);
  ASSERT_EQ(batch.rows(), 15);
  for (int64_t row = 0; row < 15; ++row) {
    const bool learnt = row >= 4 && row < 10;
    EXPECT_EQ(batch.targets[row], learnt ? static_cast<int64_t>(text[static_cast<size_t>(row)]) : -1) << row;
  }
  EXPECT_EQ(batch.scored_bytes, 6U);
  EXPECT_EQ(batch.scored_ends, 0U);
  // An answer that closes the document is learnt with its end, unless the document is cut.
  PositionBatch whole;
  append_partly_learnt(whole, model->segmenter(), text, {{.begin = 4, .end = 14}}, 14);
  EXPECT_EQ(whole.scored_ends, 1U);
  EXPECT_EQ(whole.targets.back(), model->segmenter().end_id());
  PositionBatch cut;
  append_partly_learnt(cut, model->segmenter(), text, {{.begin = 4, .end = 14}}, 8);
  EXPECT_EQ(cut.rows(), 9);
  EXPECT_EQ(cut.scored_bytes, 4U);
  EXPECT_EQ(cut.scored_ends, 0U);
}

TEST(conversations, are_pieces_of_their_own_with_answers_as_targets) {
  const testing::ScratchFolder folder;
  std::vector<std::string> documents;
  for (int i = 0; i < 20; ++i) {
    documents.push_back(R"([{"has_loss": false, "type": "text", "content": "What is it? "}, )"
                        R"({"has_loss": true, "type": "text", "content": "Number )" +
                        std::to_string(i) + R"("}])");
  }
  const Corpus corpus = Corpus::open(testing::make_corpus(folder, "data", documents));
  const auto model = LanguageModel::create(testing::make_settings(testing::kByteModel)->model, 1, ".");
  BatchSource source(corpus.train(), model->segmenter(), kOptions, {}, /*threads=*/1, /*ahead=*/2,
                     DocumentKind::kConversations);
  const PositionBatch batch = source.next().batch;
  ASSERT_GE(batch.sequences(), 1);
  const std::string question = "What is it? ";
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    for (int64_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) {
      const auto place = static_cast<size_t>(row - batch.offsets[s]);
      EXPECT_EQ(batch.targets[row] == -1, place < question.size()) << row;
      if (place > 0 && place <= question.size()) {
        EXPECT_EQ(batch.ids[row], question[place - 1]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(threads, batch_source, ::testing::Values(0, 1, 3));

}  // namespace
}  // namespace verbatim
