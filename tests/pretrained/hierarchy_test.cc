#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/scratch_folder.h"
#include "formats/safetensors.h"
#include "formats/torch_zip_writer.h"
#include "hierarchy_golden.h"
#include "model/weights.h"
#include "nn/torch.h"

// Public byte models against the results of their reference programs, see golden/hier/README.md.
namespace verbatim {
namespace {

using namespace golden;
using testing::ScratchFolder;

class Hnet : public ::testing::TestWithParam<const char*> {};

TEST_P(Hnet, equals_the_reference) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const HierarchyImport import = read_hierarchy(folder);
  LanguageModel& model = *import.model;
  EXPECT_EQ(import.architecture, "H-Net");

  ForwardNotes notes;
  const std::vector<std::vector<int64_t>> rows = rows_of(golden["input_ids"]);
  expect_close(logits_of(model, batch_of(rows), &notes), golden["logits"], "logits");
  for (size_t s = 0; s < notes.levels.size(); ++s) {
    const LevelNotes& level = notes.levels[s];
    const at::Tensor mask = golden["boundary_mask." + std::to_string(s)].reshape({-1});
    ASSERT_EQ(static_cast<size_t>(mask.numel()), level.boundary.size());
    for (size_t row = 0; row < level.boundary.size(); ++row)
      EXPECT_EQ(level.boundary[row], mask[static_cast<int64_t>(row)].item<int64_t>())
          << "stage " << s << " row " << row;
    expect_close(at::tensor(level.probability), golden["boundary_prob." + std::to_string(s)], "probabilities");
  }
  EXPECT_TRUE(golden.has("boundary_mask." + std::to_string(notes.levels.size() - 1)));

  expect_close(logits_of(model, batch_of(rows_of(golden["batch.input_ids"]))), golden["batch.logits"], "two rows");
  const at::Tensor lengths = golden["ragged.mask"].sum(1);
  const std::vector<int64_t> length{lengths[0].item<int64_t>(), lengths[1].item<int64_t>()};
  const at::Tensor ragged = logits_of(model, batch_of(rows_of(golden["ragged.input_ids"], length)));
  const at::Tensor expected = golden["ragged.logits"];
  expect_close(ragged.narrow(0, 0, length[0]), expected[0].narrow(0, 0, length[0]), "ragged, row 0");
  expect_close(ragged.narrow(0, length[0], length[1]), expected[1].narrow(0, 0, length[1]), "ragged, row 1");
}

TEST_P(Hnet, steps_as_the_reference_does) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const std::shared_ptr<LanguageModel> owner = read_hierarchy(folder).model;
  LanguageModel& model = *owner;
  const std::vector<int64_t> ids = rows_of(golden["input_ids"]).front();
  const at::Tensor expected = golden["step.logits_prefill20"];
  expect_close(stepped_logits(model, ids, 20), expected, "steps after 20 rows at once");
  expect_close(stepped_logits(model, ids, 1), expected, "all rows one by one");
}

TEST_P(Hnet, has_the_ratio_loss_of_the_reference) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  // The golden loss is for a target of 4 and without a weight.
  const std::string json = read_file(folder / "config.json", 1 << 20);
  auto settings = hnet_settings(json, "config.json");
  for (BackboneSettings* level = &settings->backbone; level->is_level(); level = &level->inner.front()) {
    level->target = 4;
    level->ratio_weight = 1;
  }
  const std::shared_ptr<LanguageModel> imported = read_hierarchy(folder).model;
  const std::shared_ptr<LanguageModel> model = LanguageModel::create(settings, 0, ".");
  torch::NoGradGuard no_grad;
  auto weights = imported->named_parameters();
  for (auto& parameter : model->named_parameters()) parameter.value().copy_(weights[parameter.key()]);
  ForwardNotes notes;
  (void)logits_of(*model, batch_of(rows_of(golden["input_ids"])), &notes);
  for (size_t s = 0; s < notes.levels.size(); ++s) {
    expect_close(notes.levels[s].loss, golden["ratio_loss_N4." + std::to_string(s)], "stage " + std::to_string(s));
  }
}

TEST_P(Hnet, writes_what_the_reference_writes) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  if (!golden.has("greedy.prompt")) GTEST_SKIP() << "no text in this case";
  const std::shared_ptr<LanguageModel> owner = read_hierarchy(folder).model;
  LanguageModel& model = *owner;
  const at::Tensor prompt = golden["greedy.prompt"], output = golden["greedy.output"];
  std::vector<int64_t> ids(prompt.data_ptr<int64_t>(), prompt.data_ptr<int64_t>() + prompt.numel());
  std::vector<int64_t> written;
  while (written.size() < static_cast<size_t>(output.numel())) {
    const at::Tensor logits = logits_of(model, batch_of({ids}));
    ids.push_back(logits[-1].argmax().item<int64_t>());
    written.push_back(ids.back());
  }
  EXPECT_THAT(written, ::testing::ElementsAreArray(output.data_ptr<int64_t>(), static_cast<size_t>(output.numel())));
}

INSTANTIATE_TEST_SUITE_P(goldens, Hnet,
                         ::testing::Values("hnet_1stage_tiny", "hnet_2stage_tiny", "hnet_2stage_wide_tiny"));

class Mamba : public ::testing::TestWithParam<const char*> {};

TEST_P(Mamba, equals_the_reference_at_once_and_in_steps) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const HierarchyImport import = read_hierarchy(folder);
  EXPECT_EQ(import.architecture, std::string(GetParam()).starts_with("mamba1") ? "Mamba-1" : "Mamba-2");
  const std::vector<std::vector<int64_t>> rows = rows_of(golden["input_ids"]);
  expect_close(logits_of(*import.model, batch_of(rows)), golden["logits"], "logits of two rows");
  for (size_t b = 0; b < rows.size(); ++b) {
    const at::Tensor expected = golden["step_logits_prefill9"][static_cast<int64_t>(b)];
    expect_close(stepped_logits(*import.model, rows[b], 9), expected, "steps after 9 rows at once");
    expect_close(stepped_logits(*import.model, rows[b], 1), expected, "all rows one by one");
  }
}

TEST_P(Mamba, keeps_the_states_of_the_reference) {
  const fs::path folder = golden_folder() / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << GetParam();
  const Golden golden(folder);
  const std::shared_ptr<LanguageModel> owner = read_hierarchy(folder).model;
  LanguageModel& model = *owner;
  const std::vector<int64_t> ids = rows_of(golden["input_ids"]).front();
  const PositionBatch batch = batch_of({ids});
  BackboneState state = model.backbone().start();
  BackboneState* pointer = &state;
  EncoderState encoder_state;
  EncoderState* encoder_pointer = &encoder_state;
  const std::vector<int64_t> stream(ids.size(), 0);
  const std::vector<uint8_t> marks(ids.size());
  std::vector<float> x(ids.size() * static_cast<size_t>(model.backbone().width()));
  model.encoder().encode_rows(batch, stream, {&encoder_pointer, 1}, x.data());
  model.backbone().advance(x.data(), {stream, batch.symbols, marks}, {&pointer, 1});
  const nn::ScanState& layer = state.layers.front().scan;
  expect_close(at::tensor(layer.state), golden["step.ssm_state.0"][0], "state of the scan");
  // The reference keeps one input more than is needed.
  const at::Tensor window = golden["step.conv_state.0"][0];
  expect_close(at::tensor(layer.window), window.narrow(1, 1, window.size(1) - 1).contiguous(), "convolution");
}

INSTANTIATE_TEST_SUITE_P(goldens, Mamba, ::testing::Values("mamba1_tiny", "mamba2_tiny", "mamba2_groups_mlp_tiny"));

// The releases' shapes; the totals are those of the published files.
struct Release {
  const char* config;
  int64_t parameters;
};

std::string hnet_release(const char* layout, const char* widths, const char* hidden, const char* heads,
                         const char* rotary, const char* windows) {
  return std::string(R"({"arch_layout": )") + layout + R"(, "d_model": )" + widths + R"(, "d_intermediate": )" +
         hidden + R"(, "vocab_size": 256, "ssm_cfg": {"chunk_size": 256, "d_conv": 4, "d_state": 128, "expand": 2},)" +
         R"( "attn_cfg": {"num_heads": )" + heads + R"(, "rotary_emb_dim": )" + rotary + R"(, "window_size": )" +
         windows + R"(}, "tie_embeddings": false})";
}

int64_t parameters_of(const std::shared_ptr<ModelSettings>& settings) {
  const ShapesOnly shapes_only;
  return LanguageModel::create(settings, 0, ".")->parameter_count();
}

TEST(hierarchy_checkpoint, has_the_parameters_of_the_hnet_releases) {
  const auto one = [](const char* inner, const char* width, const char* hidden, const char* rotary) {
    return parameters_of(
        hnet_settings(hnet_release(inner, width, hidden, "[16, 16]", rotary, "[1023, -1]"), "release"));
  };
  EXPECT_EQ(one(R"(["m4", ["T22"], "m4"])", "[1024, 1536]", "[0, 4096]", "[32, 48]"), 679'405'312);
  EXPECT_EQ(one(R"(["m4", ["T24"], "m4"])", "[1024, 2048]", "[0, 5504]", "[32, 64]"), 1'270'833'920);
  const auto two = [](const char* layout, const char* width, const char* hidden, const char* rotary) {
    return parameters_of(
        hnet_settings(hnet_release(layout, width, hidden, "[16, 16, 16]", rotary, "[1023, 1023, -1]"), "release"));
  };
  EXPECT_EQ(two(R"(["m4", ["T1m4", ["T26"], "m4T1"], "m4"])", "[1024, 1024, 1536]", "[0, 2816, 4096]", "[32, 32, 48]"),
            874'315'264);
  EXPECT_EQ(two(R"(["m4", ["T1m4", ["T27"], "m4T1"], "m4"])", "[1024, 1536, 2048]", "[0, 4096, 5504]", "[32, 48, 64]"),
            1'603'492'224);
  EXPECT_EQ(two(R"(["m4", ["T1m4", ["T28"], "m4T1"], "m4"])", "[1024, 1536, 2048]", "[0, 4096, 5504]", "[32, 48, 64]"),
            1'654'090'112);
}

TEST(hierarchy_checkpoint, has_the_parameters_of_the_mamba_releases) {
  const auto mamba = [](int64_t layers, int64_t width, bool second) {
    return parameters_of(mamba_settings(
        fmt::format(
            R"({{"d_model": {}, "n_layer": {}, "vocab_size": {}, "pad_vocab_size_multiple": {}, "ssm_cfg": {}}})",
            width, layers, 50277, second ? 16 : 8, second ? R"({"layer": "Mamba2"})" : "{}"),
        "release", ""));
  };
  EXPECT_EQ(mamba(24, 768, false), 129'135'360);
  EXPECT_EQ(mamba(24, 768, true), 128'989'632);
  EXPECT_EQ(mamba(48, 1024, false), 371'516'416);
  EXPECT_EQ(mamba(48, 1024, true), 368'346'624);
  EXPECT_EQ(mamba(64, 2560, true), 2'702'599'680);
}

TEST(hierarchy_checkpoint, reads_pickles_as_safetensors) {
  for (const auto& [name, file] : {std::pair("hnet_2stage_tiny", "hnet.pt"), {"mamba1_tiny", "pytorch_model.bin"}}) {
    const fs::path folder = golden_folder() / name;
    if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found: " << name;
    const ScratchFolder temporary;
    fs::copy_file(folder / "config.json", temporary / "config.json");
    const SafetensorsReader reader = SafetensorsReader::open(folder / "model.safetensors");
    std::vector<std::pair<std::string, TorchValue>> state;
    for (const auto& [key, view] : reader.tensors()) state.emplace_back(key, view);
    write_torch_zip(temporary / file, state);
    const HierarchyImport from_pickle = read_hierarchy(temporary.path()), from_safetensors = read_hierarchy(folder);
    auto expected = from_safetensors.model->named_parameters();
    for (const auto& parameter : from_pickle.model->named_parameters())
      EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << name << " " << parameter.key();
    // And through the folder that `verbatim import` writes.
    const fs::path out = temporary / "model";
    import_hierarchy(temporary.path(), out);
    EXPECT_TRUE(fs::exists(out / "model.safetensors"));
  }
}

TEST(hierarchy_checkpoint, says_when_a_pickle_holds_something_else) {
  const ScratchFolder folder;
  std::ofstream(folder / "config.json") << R"({"d_model": 8, "n_layer": 2, "vocab_size": 256})";
  write_torch_zip(folder / "pytorch_model.bin", {{"words", std::vector<std::string>{"a", "b"}}});
  try {
    (void)read_hierarchy(folder.path());
    ADD_FAILURE() << "not refused";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("pytorch_model.bin: holds dict without any tensor"));
  }
}

TEST(hierarchy_checkpoint, refuses_what_does_not_fit) {
  EXPECT_THROW((void)hnet_settings(R"({"arch_layout": ["m4"]})", "c"), InputError);
  EXPECT_THROW((void)hnet_settings(R"({"arch_layout": "m4"})", "c"), InputError);
  EXPECT_THROW((void)hnet_settings(R"([1])", "c"), InputError);
  EXPECT_THROW((void)mamba_settings(R"({"n_layer": 2})", "c", ""), InputError);
  EXPECT_THROW((void)mamba_settings(
                   R"({"d_model": 8, "n_layer": 2, "vocab_size": 256, "ssm_cfg": {"layer": "Mamba3"}})", "c", ""),
               InputError);
  const fs::path folder = golden_folder() / "hnet_1stage_tiny";
  if (!fs::exists(folder)) GTEST_SKIP() << "golden data not found";
  const ScratchFolder temporary;
  fs::copy_file(folder / "model.safetensors", temporary / "model.safetensors");
  // A configuration with one layer more than the file holds.
  std::string json = read_file(folder / "config.json", 1 << 20);
  json.replace(json.find("\"m2\""), 4, "\"m3\"");
  std::ofstream(temporary / "config.json") << json;
  EXPECT_THROW((void)read_hierarchy(temporary.path()), InputError);
}

}  // namespace
}  // namespace verbatim
