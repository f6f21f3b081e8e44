#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/scratch_folder.h"
#include "hierarchy_golden.h"
#include "model/model_folder.h"
#include "nn/kernels/dense.h"
#include "nn/torch.h"
#include "pretrained/grouped_checkpoints.h"

// SpaceByte, its variants and MEGABYTE against the results of their reference programs, see golden/hier/README.md.
namespace verbatim {
namespace {

using namespace golden;
using testing::ScratchFolder;

// The model must say the same after `verbatim import` has written it down: every setting that matters is saved.
void expect_same_after_saving(const fs::path& source, LanguageModel& model, const PositionBatch& batch) {
  const ScratchFolder temporary;
  import_hierarchy(source, temporary / "model");
  const std::shared_ptr<LanguageModel> loaded = load_model(temporary / "model");
  EXPECT_TRUE(at::equal(logits_of(*loaded, batch), logits_of(model, batch)));
}

class SpaceByte : public ::testing::TestWithParam<const char*> {};

TEST_P(SpaceByte, equals_the_reference_at_once_and_in_steps) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const HierarchyImport import = read_hierarchy(folder);
  EXPECT_EQ(import.architecture,
            std::string(GetParam()).starts_with("megabyte") ? "MegaByte of SpaceByte" : "SpaceByte");
  EXPECT_EQ(import.model->settings().family, "patch");

  ForwardNotes notes;
  const std::vector<std::vector<int64_t>> rows = rows_of(golden["input_ids"]);
  const at::Tensor expected = golden["logits"];
  expect_close(logits_of(*import.model, batch_of(rows), &notes), expected, "logits of two rows");
  for (size_t b = 0; b < rows.size(); ++b) {
    const at::Tensor row = expected[static_cast<int64_t>(b)];
    expect_close(stepped_logits(*import.model, rows[b], 21), row, "steps after 21 rows at once");
    expect_close(stepped_logits(*import.model, rows[b], 1), row, "all rows one by one");
  }
  expect_same_after_saving(folder, *import.model, batch_of(rows));
  // A stretch from inside a document may have no boundary at all.
  const std::vector<int64_t> letters{'a', 'b', 'c'};
  expect_close(stepped_logits(*import.model, letters, 2), logits_of(*import.model, batch_of({letters})), "no boundary");

  ASSERT_EQ(notes.levels.size(), 1U);
  if (!golden.has("global_counts")) return;
  const at::Tensor counts = golden["global_counts"], positions = golden["global_positions"];
  for (size_t b = 0; b < rows.size(); ++b) {
    std::vector<int64_t> starts;
    for (size_t t = 0; t < rows[b].size(); ++t) {
      if (notes.levels.front().boundary[b * rows[b].size() + t] != 0) starts.push_back(static_cast<int64_t>(t));
    }
    const at::Tensor row = positions[static_cast<int64_t>(b)].contiguous();
    EXPECT_THAT(starts,
                ::testing::ElementsAreArray(row.data_ptr<int64_t>(),
                                            static_cast<size_t>(counts[static_cast<int64_t>(b)].item<int64_t>())));
  }
}

INSTANTIATE_TEST_SUITE_P(goldens, SpaceByte,
                         ::testing::Values("spacebyte_tiny", "spacebyte_rope_rms_tiny", "spacebyte_stride_tiny",
                                           "megabyte_spacebyte_repo_tiny"));

class MegabyteCheckpoint : public ::testing::TestWithParam<const char*> {};

// Rows with the start row of ours in front, which predicts the first byte.
PositionBatch with_start_rows(const std::vector<std::vector<int64_t>>& rows) {
  PositionBatch batch;
  for (const std::vector<int64_t>& ids : rows) {
    PositionBatch one = batch_of({ids});
    one.ids.insert(one.ids.begin(), 0);
    one.symbols.insert(one.symbols.begin(), kStartSymbol);
    one.ends.insert(one.ends.begin(), 0);
    one.targets.insert(one.targets.begin(), -1);
    batch.ids.insert(batch.ids.end(), one.ids.begin(), one.ids.end());
    batch.symbols.insert(batch.symbols.end(), one.symbols.begin(), one.symbols.end());
    batch.ends.insert(batch.ends.end(), one.ends.begin(), one.ends.end());
    batch.targets.insert(batch.targets.end(), one.targets.begin(), one.targets.end());
    batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
  }
  return batch;
}

// What the reference says of an empty prompt: the start vectors alone, each stage's first message added to the next
// one's. In its training, and so in its loss, the start slot of a group gets no message: what our row 0 follows.
at::Tensor logits_of_empty_prompt(LanguageModel& model) {
  torch::NoGradGuard no_grad;
  const BackboneSettings& settings = model.settings().backbone;
  const auto parameters = model.named_parameters();
  at::Tensor message, y;
  for (size_t s = 0; s < settings.widths.size(); ++s) {
    BackboneSettings stage;
    stage.stack = settings.megabyte_stage(s);
    stage.resolve("stage");
    const std::shared_ptr<Backbone> layers = make_backbone(stage, at::detail::createCPUGenerator(0));
    const std::string name = "backbone.stages." + std::to_string(s) + ".";
    for (auto& parameter : layers->named_parameters()) parameter.value().copy_(parameters[name + parameter.key()]);
    at::Tensor start = parameters[name + "start"].unsqueeze(0);
    if (message.defined()) start = start + message;
    Rows one;
    one.sequences.offsets = {0, 1};
    y = layers->forward(start, one, {});
    if (s + 1 == settings.widths.size()) break;
    message = at::linear(y, parameters[name + "messages.weight"], parameters[name + "messages.bias"])
                  .narrow(1, 0, settings.widths[s + 1]);
  }
  return dynamic_cast<SoftmaxDecoder&>(model.decoder()).logits(y);
}

TEST_P(MegabyteCheckpoint, equals_the_reference_at_once_and_in_steps) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const HierarchyImport import = read_hierarchy(folder);
  EXPECT_EQ(import.architecture, "MEGABYTE");
  const std::vector<std::vector<int64_t>> rows = rows_of(golden["input_ids"]);
  const at::Tensor expected = golden["logits"];
  expect_close(logits_of(*import.model, batch_of(rows)), expected, "logits of two rows");
  const int64_t length = expected.size(1);
  const at::Tensor started = logits_of(*import.model, with_start_rows(rows));
  for (int64_t b = 0; b < expected.size(0); ++b) {
    expect_close(started.narrow(0, b * (length + 1) + 1, length), expected[b], "behind a start row");
    expect_close(stepped_logits(*import.model, rows[b], 21), expected[b], "steps after 21 rows at once");
    expect_close(stepped_logits(*import.model, rows[b], 1), expected[b], "all rows one by one");
  }
  expect_close(logits_of(*import.model, with_start_rows({{}})), started[0], "a document without bytes");
  expect_close(logits_of_empty_prompt(*import.model), golden["start_logits"], "an empty prompt");
  expect_same_after_saving(folder, *import.model, with_start_rows(rows));
}

TEST_P(MegabyteCheckpoint, has_the_loss_of_the_reference) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const std::shared_ptr<LanguageModel> model = read_hierarchy(folder).model;
  const std::vector<std::vector<int64_t>> rows = rows_of(golden["loss_input_ids"]);
  std::vector<int64_t> targets;
  int64_t scored = 0;
  for (const std::vector<int64_t>& ids : rows) {
    for (const int64_t id : ids) {
      targets.push_back(id == 0 ? -1 : id);  // the padding is not scored
      scored += id == 0 ? 0 : 1;
    }
    targets.push_back(-1);
  }
  const at::Tensor nats = nn::cross_entropy(logits_of(*model, with_start_rows(rows)), at::tensor(targets));
  expect_close(nats.sum() / static_cast<double>(scored), golden["loss"], "loss");
}

INSTANTIATE_TEST_SUITE_P(goldens, MegabyteCheckpoint,
                         ::testing::Values("megabyte_2stage_tiny", "megabyte_3stage_tiny"));

constexpr const char* kSpaceByteConfig =
    R"({"vocab_size": 256, "BOS": 255, "d_model": 32, "context_size": 96, "d_key": 8, "n_layers": 2,
        "patch_method": "utf8", "global_context_size": 24, "d_local": 16, "n_local_layers": 3})";

TEST(grouped_checkpoints, take_the_defaults_of_the_reference) {
  const auto settings = spacebyte_settings(kSpaceByteConfig, "c");
  EXPECT_EQ(settings->backbone.layers_before, 1);  // half of the local layers, rounded down
  EXPECT_EQ(settings->backbone.layers_after, 2);
  EXPECT_EQ(settings->backbone.stack.hidden, 64);
  EXPECT_EQ(settings->backbone.stack.norm, "layer_unshifted");
  EXPECT_EQ(settings->backbone.stack.positions, 96);
  EXPECT_EQ(settings->backbone.inner.front().stack.heads, 4);
}

TEST(grouped_checkpoints, refuse_what_does_not_fit) {
  const auto with = [](std::string_view from, std::string_view to) {
    std::string json = kSpaceByteConfig;
    json.replace(json.find(from), from.size(), to);
    return json;
  };
  for (const std::string& wrong :
       {with("\"d_key\": 8", "\"d_key\": 7"), with("\"utf8\"", "\"words\""),
        with("\"vocab_size\": 256", "\"vocab_size\": 50"),
        with("\"BOS\": 255", "\"BOS\": 255, \"nonlinear\": \"Tanh\""),
        with("\"BOS\": 255", "\"BOS\": 255, \"layer_norm\": \"None\""),
        with("\"BOS\": 255", "\"BOS\": 255, \"tokenizer\": \"gpt2\""), with("\"d_local\": 16", "\"d_local\": -1")}) {
    EXPECT_THROW((void)spacebyte_settings(wrong, "c"), InputError) << wrong;
  }
  for (const char* wrong : {R"({"num_tokens": 256, "dim": [8, 8], "depth": [1], "max_seq_len": [4, 4]})",
                            R"({"num_tokens": 256, "dim": [8, 8], "depth": [1, 1], "max_seq_len": [4, 0]})",
                            R"({"num_tokens": 256, "dim": 8, "depth": 2, "max_seq_len": [4, "x"]})",
                            R"({"num_tokens": 50257, "dim": [8, 8], "depth": [1, 1], "max_seq_len": [4, 4]})"}) {
    EXPECT_THROW((void)megabyte_settings(wrong, "c"), InputError) << wrong;
  }
}

// The tables of positions end; so do texts.
TEST(grouped_checkpoints, refuse_texts_longer_than_their_positions) {
  for (const char* name : {"spacebyte_tiny", "spacebyte_stride_tiny", "megabyte_spacebyte_repo_tiny",
                           "megabyte_2stage_tiny", "megabyte_3stage_tiny"}) {
    const fs::path folder = golden_folder() / name;
    if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << name;
    const std::shared_ptr<LanguageModel> model = read_hierarchy(folder).model;
    const std::string text(200, 'x');
    EXPECT_THROW((void)model->nats(make_batch(model->segmenter(), {{.bytes = text}}), {}), InputError) << name;
    StreamState state = model->start();
    EXPECT_THROW(model->read(state, text), InputError) << name;
  }
}

}  // namespace
}  // namespace verbatim
