// A real checkpoint against figures that were computed elsewhere from its original file.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/scratch_folder.h"
#include "evaluate/likelihood.h"
#include "generate/generate.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "pretrained/llama_export.h"
#include "pretrained/llama_import.h"

namespace verbatim {
namespace {

using testing::ScratchFolder;

class Stories : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(folder() / "config.json")) {
      GTEST_SKIP() << "../shared/data/models/stories260K is absent: no real checkpoint to compare with";
    }
    reference_ = nlohmann::json::parse(std::ifstream(folder() / "reference.json"));
    model_ = read_llama(folder()).model;
  }

  static std::filesystem::path folder() {
    return std::filesystem::path(VERBATIM_SHARED) / "data" / "models" / "stories260K";
  }

  // Parts between <|endoftext|>, without the line breaks around them.
  static std::vector<std::string> sample_documents() {
    const std::string sample = ScratchFolder::read(folder() / "tinystories_sample.txt");
    const std::string separator = "<|endoftext|>";
    std::vector<std::string> documents;
    for (size_t begin = 0; begin < sample.size();) {
      const size_t end = std::min(sample.find(separator, begin), sample.size());
      std::string text = sample.substr(begin, end - begin);
      text.erase(0, text.find_first_not_of('\n'));
      text.erase(text.find_last_not_of('\n') + 1);
      if (!text.empty()) documents.push_back(text);
      begin = end + separator.size();
    }
    return documents;
  }

  nlohmann::json reference_;
  std::shared_ptr<LanguageModel> model_;
};

using stories260k = Stories;

TEST_F(stories260k, has_the_ids_and_logits_of_the_reference) {
  const auto prompt = reference_["prompt"].get<std::string>();
  const auto ids = reference_["ids_with_bos"].get<std::vector<int32_t>>();
  const auto expected = reference_["logits_of_last_position"].get<std::vector<double>>();
  torch::NoGradGuard no_grad;
  StreamState state = model_->start();
  model_->read(state, prompt);
  const std::vector<float> stepwise = model_->decoder().scores(state.newest_D);
  const PositionBatch whole = make_batch(model_->segmenter(), {{.bytes = prompt}});
  EXPECT_EQ(whole.ids, ids);
  const at::Tensor h = model_->forward(whole, {});
  const at::Tensor last = h[h.size(0) - 1].contiguous();
  const std::vector<float> at_once =
      model_->decoder().scores({last.data_ptr<float>(), static_cast<size_t>(last.numel())});
  ASSERT_EQ(at_once.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(at_once[i], expected[i], 1e-4) << i;
    EXPECT_NEAR(stepwise[i], expected[i], 1e-4) << i;
  }
}

TEST_F(stories260k, scores_documents_as_the_reference_does) {
  const std::vector<std::string> documents = sample_documents();
  const nlohmann::json& expected = reference_["tinystories_sample"]["documents"];
  ASSERT_EQ(documents.size(), expected.size());
  double total = 0;
  size_t bytes = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const PositionNats scored = score_positions(*model_, documents[d], {.window_bytes = 4096});
    const double nats = std::accumulate(scored.nats.begin(), scored.nats.end(), 0.0);
    EXPECT_EQ(scored.positions.size(), expected[d]["predicted_ids"].get<size_t>()) << d;
    EXPECT_EQ(documents[d].size(), expected[d]["bytes"].get<size_t>()) << d;
    EXPECT_NEAR(nats, expected[d]["nats"].get<double>(), 1e-3) << d;
    total += nats;
    bytes += documents[d].size();
  }
  EXPECT_NEAR(total / std::numbers::ln2 / static_cast<double>(bytes),
              reference_["tinystories_sample"]["bits_per_byte"].get<double>(), 1e-6);
  const LikelihoodResult all = evaluate_likelihood(
      *model_, documents.size(), [&](uint64_t d) { return std::string_view(documents[d]); }, {.window_bytes = 4096});
  EXPECT_EQ(all.bytes, bytes);
  EXPECT_NEAR(all.nats_total - all.nats_ends, total, 1e-3);
}

// It was trained on documents with BOS between them, and EOS never occurred.
TEST_F(stories260k, expects_the_begin_symbol_behind_a_document) {
  const auto told = read_llama(folder(), {.end_id = 1}).model;
  for (const std::string& document : sample_documents()) {
    EXPECT_LT(score_positions(*told, document, {.window_bytes = 4096}).end_nats, 2);
    EXPECT_GT(score_positions(*model_, document, {.window_bytes = 4096}).end_nats, 10);
  }
  EXPECT_THROW((void)read_llama(folder(), {.end_id = 512}), InputError);
  EXPECT_THROW((void)read_llama(folder(), {.end_id = 400}), InputError);  // a piece of text
}

TEST_F(stories260k, is_not_taken_for_a_model_folder) {
  try {
    (void)load_model(folder());
    FAIL() << "it was loaded";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("verbatim import"), std::string::npos) << error.what();
  }
}

TEST_F(stories260k, writes_the_documented_story) {
  const auto story = reference_["greedy_text"].get<std::string>();
  const std::string prompt = "Once upon a time";
  ASSERT_TRUE(story.starts_with(prompt));
  const auto rest = static_cast<int64_t>(story.size() - prompt.size());
  const GenerateResult result = generate(*model_, {prompt}, {.max_bytes = rest, .sampling = {.temperature = 0}});
  EXPECT_EQ(prompt + result.texts.at(0).text, story);
}

TEST_F(stories260k, comes_back_from_export_bit_by_bit) {
  const ScratchFolder scratch;
  export_llama(*model_, scratch / "again", {});
  const auto again = read_llama(scratch / "again").model;
  const auto expected = model_->named_parameters();
  ASSERT_EQ(again->named_parameters().size(), expected.size());
  for (const auto& parameter : again->named_parameters()) {
    EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << parameter.key();
  }
  EXPECT_EQ(ScratchFolder::read(scratch / "again" / "tokenizer.model"), ScratchFolder::read(folder() / "tok512.model"));
  const auto config = nlohmann::json::parse(ScratchFolder::read(scratch / "again" / "config.json"));
  EXPECT_EQ(config, nlohmann::json::parse(std::ifstream(folder() / "config.json")));
}

}  // namespace
}  // namespace verbatim
