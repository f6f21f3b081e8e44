#include "evaluate/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/random.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::kTinyByte;
using testing::kTinyPatch;
using testing::make_model;

DocumentAt documents_of(const std::vector<std::string>& texts) {
  return [&texts](uint64_t index) -> std::string_view { return texts[index]; };
}

double nats_of(const std::vector<float>& scores, size_t symbol) {
  double top = -INFINITY, total = 0;
  for (const float score : scores) top = std::max(top, static_cast<double>(score));
  for (const float score : scores) total += std::exp(static_cast<double>(score) - top);
  return top + std::log(total) - static_cast<double>(scores[symbol]);
}

// The definition, byte by byte: a stream per window that has read nothing but the window's bytes.
double naive_nats(LanguageModel& model, const std::string& text, size_t window, size_t stride) {
  double nats = 0;
  const auto score = [&](size_t begin, size_t score_begin, size_t end) {
    StreamState state = model.start(begin == 0 ? DocumentPart::kStart : DocumentPart::kLater);
    for (size_t i = begin; i < end; ++i) {
      if (i >= score_begin) nats += nats_of(model.decoder().scores(state.newest_D), static_cast<uint8_t>(text[i]));
      model.read_position(state, {static_cast<uint8_t>(text[i])});
    }
    if (end == text.size()) nats += nats_of(model.decoder().scores(state.newest_D), 256);
  };
  size_t end = std::min(window, text.size());
  score(0, 0, end);
  while (end < text.size()) {
    const size_t score_begin = end;
    end = std::min(end + stride, text.size());
    score(end - window, score_begin, end);
  }
  return nats;
}

std::string random_text(uint64_t seed, size_t size) {
  Random random(seed);
  std::string text;
  while (text.size() < size) text.push_back(random.below(4) == 0 ? ' ' : static_cast<char>(random.below(256)));
  return text;
}

TEST(likelihood, equals_a_byte_by_byte_evaluation_in_windows) {
  const std::vector<std::string> texts{random_text(1, 150), "", "x", random_text(2, 33), random_text(3, 32),
                                       random_text(4, 90)};
  for (const char* toml : {kTinyByte, kTinyPatch}) {
    const auto model = make_model(toml);
    double expected = 0;
    size_t bytes = 0;
    for (const std::string& text : texts) {
      expected += naive_nats(*model, text, 32, 8);
      bytes += text.size();
    }
    for (const int64_t batch_bytes : {1, 100, 100000}) {
      const LikelihoodResult result =
          evaluate_likelihood(*model, texts.size(), documents_of(texts),
                              {.window_bytes = 32, .stride_bytes = 8, .batch_bytes = batch_bytes});
      EXPECT_NEAR(result.nats_total, expected, 1e-4 * expected);
      EXPECT_NEAR(result.bits_per_byte, expected / std::numbers::ln2 / static_cast<double>(bytes), 1e-3);
      EXPECT_EQ(result.bytes, bytes);
      EXPECT_EQ(result.positions, bytes);
      EXPECT_EQ(result.documents, texts.size());
      EXPECT_EQ(result.likelihood, Likelihood::kExact);
      EXPECT_EQ(result.parameters, model->parameter_count());
    }
  }
}

TEST(likelihood, steps_a_quarter_of_the_window_unless_told) {
  const std::vector<std::string> texts{random_text(5, 200)};
  const auto model = make_model(kTinyByte);
  const LikelihoodResult result = evaluate_likelihood(*model, 1, documents_of(texts), {.window_bytes = 40});
  EXPECT_EQ(result.stride_bytes, 10);
  EXPECT_NEAR(result.nats_total, naive_nats(*model, texts[0], 40, 10), 0.02);
}

TEST(likelihood, predicts_the_first_byte_of_a_window_even_without_overlap) {
  const std::vector<std::string> texts{random_text(6, 100)};
  const auto model = make_model(kTinyByte);
  const PositionNats scored = score_positions(*model, texts[0], {.window_bytes = 20, .stride_bytes = 20});
  ASSERT_EQ(scored.nats.size(), 100U);
  for (const double nats : scored.nats) EXPECT_GT(nats, 0);
  EXPECT_GT(scored.end_nats, 0);
}

TEST(likelihood, does_not_depend_on_the_stretches_of_a_long_document) {
  std::vector<std::string> texts{random_text(7, 3000)};
  const auto model = make_model(kTinyPatch);
  LikelihoodOptions options{.window_bytes = 64};
  const LikelihoodResult whole = evaluate_likelihood(*model, 1, documents_of(texts), options);
  for (const int64_t stretch : {129, 200, 1000}) {
    options.stretch_bytes = stretch;
    const LikelihoodResult stretched = evaluate_likelihood(*model, 1, documents_of(texts), options);
    EXPECT_NEAR(stretched.nats_total, whole.nats_total, 1e-5 * whole.nats_total) << stretch;
    EXPECT_EQ(stretched.positions, whole.positions);
  }
}

TEST(likelihood, leaves_out_the_end_of_a_document_that_is_cut_off) {
  const std::vector<std::string> texts{"abcdefgh", "ijklmnop"};
  const auto model = make_model(kTinyByte);
  const LikelihoodResult result =
      evaluate_likelihood(*model, 2, documents_of(texts), {.window_bytes = 16, .max_bytes = 12});
  EXPECT_EQ(result.bytes, 12U);
  const PositionNats first = score_positions(*model, texts[0], {.window_bytes = 16});
  const PositionNats second = score_positions(*model, texts[1], {.window_bytes = 16});
  double expected = first.end_nats;
  for (const double nats : first.nats) expected += nats;
  for (size_t i = 0; i < 4; ++i) expected += second.nats[i];
  EXPECT_NEAR(result.nats_total, expected, 1e-4);
}

TEST(likelihood, of_one_document_is_the_sum_of_its_positions_and_its_end) {
  const std::vector<std::string> texts{random_text(8, 77)};
  const auto model = make_model(kTinyPatch);
  const LikelihoodOptions options{.window_bytes = 32};
  const PositionNats scored = score_positions(*model, texts[0], options);
  double total = scored.end_nats;
  for (const double nats : scored.nats) total += nats;
  EXPECT_NEAR(total, evaluate_likelihood(*model, 1, documents_of(texts), options).nats_total, 1e-4);
}

TEST(likelihood, is_close_in_bfloat16) {
  const std::vector<std::string> texts{random_text(9, 300)};
  const auto model = make_model(kTinyPatch);
  LikelihoodOptions options{.window_bytes = 64};
  const double full = evaluate_likelihood(*model, 1, documents_of(texts), options).bits_per_byte;
  options.precision = Precision::kBfloat16;
  EXPECT_NEAR(evaluate_likelihood(*model, 1, documents_of(texts), options).bits_per_byte, full, 0.02 * full);
}

TEST(likelihood, tells_its_progress_and_stops_when_asked) {
  const std::vector<std::string> texts{random_text(10, 300)};
  const auto model = make_model(kTinyByte);
  uint64_t last = 0;
  LikelihoodOptions options{.window_bytes = 64, .batch_bytes = 64};
  options.on_progress = [&](uint64_t done, double bits) {
    EXPECT_GT(done, last);
    EXPECT_GT(bits, 0);
    last = done;
  };
  (void)evaluate_likelihood(*model, 1, documents_of(texts), options);
  EXPECT_EQ(last, 300U);
  const std::atomic<bool> interrupted = true;
  options.interrupted = &interrupted;
  EXPECT_THROW((void)evaluate_likelihood(*model, 1, documents_of(texts), options), EvaluationStopped);
}

TEST(likelihood, refuses_options_that_make_no_sense) {
  const std::vector<std::string> texts{"abc"}, empty{""};
  const auto model = make_model(kTinyByte);
  EXPECT_THROW((void)evaluate_likelihood(*model, 1, documents_of(texts), {.window_bytes = 1}), InputError);
  EXPECT_THROW((void)evaluate_likelihood(*model, 1, documents_of(texts), {.window_bytes = 8, .stride_bytes = 9}),
               InputError);
  EXPECT_THROW((void)evaluate_likelihood(*model, 1, documents_of(texts), {.batch_bytes = 0}), InputError);
  EXPECT_THROW((void)evaluate_likelihood(*model, 1, documents_of(empty), {}), InputError);
}

}  // namespace
}  // namespace verbatim
