#include "generate/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/torch.h"
#include "text/utf8.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::kTinyByte;
using testing::kTinyPatch;
using testing::make_model;

// Written from the definition: a fresh full pass for every byte, the greatest score wins.
std::string greedy_by_full_passes(LanguageModel& model, const std::string& prompt, size_t count) {
  torch::NoGradGuard no_grad;
  std::string text = prompt;
  while (text.size() < prompt.size() + count) {
    const PositionBatch batch = make_batch(model.segmenter(), {{.bytes = text}});
    const at::Tensor h = model.forward(batch, {});
    const at::Tensor last = h[h.size(0) - 1].contiguous();
    const std::vector<float> scores =
        model.decoder().scores({last.data_ptr<float>(), static_cast<size_t>(last.numel())});
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    if (best == 256) break;
    text.push_back(static_cast<char>(best));
  }
  return text.substr(prompt.size());
}

TEST(generate, follows_the_most_likely_bytes_of_full_passes) {
  for (const char* toml : {kTinyByte, kTinyPatch}) {
    const auto model = make_model(toml);
    const GenerateResult result = generate(*model, {"one two"}, {.max_bytes = 40, .sampling = {.temperature = 0}});
    const std::string expected = greedy_by_full_passes(*model, "one two", 40);
    // The limit leaves out a character that it would cut.
    EXPECT_EQ(result.texts.at(0).text, expected.substr(0, complete_prefix_length(expected)));
  }
}

TEST(generate, repeats_itself_for_a_seed_and_gives_each_sample_its_own_text) {
  const auto model = make_model(kTinyPatch);
  const GenerateOptions options{.max_bytes = 30, .sampling = {.temperature = 1, .top_k = 0, .seed = 3}, .samples = 3};
  const GenerateResult a = generate(*model, {"x"}, options), b = generate(*model, {"x"}, options);
  ASSERT_EQ(a.texts.size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(a.texts[i].text, b.texts[i].text);
  EXPECT_NE(a.texts[0].text, a.texts[1].text);
}

TEST(generate, gives_a_batch_the_texts_of_its_rows) {
  const auto model = make_model(kTinyPatch);
  const GenerateOptions options{.max_bytes = 25, .sampling = {.temperature = 0}};
  const std::vector<std::string> prompts{"a b", "", "zebra crossing the", "\xFF\xFE"};
  const GenerateResult together = generate(*model, prompts, options);
  for (size_t p = 0; p < prompts.size(); ++p) {
    EXPECT_EQ(together.texts[p].prompt, p);
    EXPECT_EQ(together.texts[p].text, generate(*model, {prompts[p]}, options).texts[0].text) << p;
  }
}

TEST(generate, streams_exactly_the_text) {
  const auto model = make_model(kTinyByte);
  std::vector<std::string> streamed(2);
  GenerateOptions options{
      .max_bytes = 50, .sampling = {.temperature = 1.5, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 4}, .samples = 2};
  options.on_text = [&](size_t sample, std::string_view bytes) {
    streamed[sample] += bytes;
    return true;
  };
  const GenerateResult result = generate(*model, {"hello"}, options);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(streamed[i], result.texts[i].text);
  EXPECT_EQ(result.bytes, streamed[0].size() + streamed[1].size());
}

TEST(generate, ends_before_a_stop_string) {
  const auto model = make_model(kTinyByte);
  const GenerateOptions options{.max_bytes = 40, .sampling = {.temperature = 1, .top_k = 0, .seed = 9}};
  const std::string text = generate(*model, {"a"}, options).texts[0].text;
  ASSERT_GT(text.size(), 12U);
  GenerateOptions stopping = options;
  stopping.stop = {text.substr(6, 3)};
  const GeneratedText stopped = generate(*model, {"a"}, stopping).texts[0];
  EXPECT_EQ(stopped.finish, FinishReason::kStopString);
  EXPECT_EQ(stopped.text, text.substr(0, text.find(stopping.stop[0])));
}

TEST(generate, ends_when_nobody_listens) {
  const auto model = make_model(kTinyByte);
  GenerateOptions options{.max_bytes = 1000, .sampling = {.temperature = 0}};
  options.on_text = [](size_t, std::string_view) { return false; };
  const GeneratedText text = generate(*model, {"a"}, options).texts[0];
  EXPECT_EQ(text.finish, FinishReason::kStopped);
  EXPECT_LT(text.text.size(), 10U);
  const std::atomic<bool> interrupted = true;
  EXPECT_EQ(generate(*model, {"a"}, {.interrupted = &interrupted}).texts[0].text, "");
}

TEST(generate, reads_the_last_half_again_when_the_context_is_full) {
  const auto model = make_model(kTinyByte);
  // With 32 bytes of context, the byte after the 32nd comes from a stream that has read bytes 16 to 32 only.
  const std::string prompt = "abcdefghijklmnopqrstuvwxyzABCDE";  // 31 bytes
  const GenerateOptions options{.max_bytes = 2, .sampling = {.temperature = 0}, .context_bytes = 32};
  const GeneratedText text = generate(*model, {prompt}, options).texts[0];
  ASSERT_EQ(text.text.size(), 2U);
  const std::string all = prompt + text.text[0];
  StreamState state = model->start(DocumentPart::kLater);
  model->read(state, all.substr(16));
  const std::vector<float> scores = model->decoder().scores(state.newest_D);
  EXPECT_EQ(static_cast<uint8_t>(text.text[1]), std::max_element(scores.begin(), scores.end()) - scores.begin());
  // Long texts go on; nothing grows beyond the context.
  const GenerateOptions longer{
      .max_bytes = 300, .sampling = {.temperature = 1, .top_k = 0, .seed = 2}, .context_bytes = 32};
  EXPECT_GT(generate(*model, {std::string(100, 'x')}, longer).texts[0].positions, 0);
}

TEST(generate, refuses_options_that_make_no_sense) {
  const auto model = make_model(kTinyByte);
  EXPECT_THROW((void)generate(*model, {""}, {.samples = 0}), InputError);
  EXPECT_THROW((void)generate(*model, {""}, {.max_bytes = -1}), InputError);
  EXPECT_THROW((void)generate(*model, {""}, {.context_bytes = 3}), InputError);
  EXPECT_THROW((void)generate(*model, {""}, {.sampling = {.temperature = -1}}), InputError);
}

}  // namespace
}  // namespace verbatim
