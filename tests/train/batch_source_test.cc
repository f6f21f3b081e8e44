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

INSTANTIATE_TEST_SUITE_P(threads, batch_source, ::testing::Values(0, 1, 3));

}  // namespace
}  // namespace verbatim
