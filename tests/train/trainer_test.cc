#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>
#include <regex>
#include <stdexcept>

#include "base/error.h"
#include "corpus/corpus.h"
#include "corpus/pieces.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "train/training_run.h"

namespace verbatim {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::make_corpus;
using testing::make_settings;
using testing::ScratchFolder;

const ProgramInfo kProgram = {.version = "1", .commit = "abc", .compiler = "gcc", .command_line = "verbatim train"};

// What a run told its hooks.
struct Story {
  std::vector<StepReport> reports;
  std::vector<std::string> messages, warnings, samples;
  TrainResult result;
};

struct Plan {
  std::string model = testing::kByteModel;
  std::vector<std::string> overrides = {};
  int64_t stop_at = 0;                // sets the stop flag behind this step
  int64_t crash_at = 0;               // leaves by an exception behind this step
  std::vector<double> held_out = {};  // what evaluations give, one after the other; empty: always the same
};

Story train(const Plan& plan, const fs::path& data, const fs::path& run) {
  Story story;
  std::atomic<bool> stop = false;
  TrainHooks hooks;
  hooks.stop = &stop;
  hooks.on_step = [&](const StepReport& report) {
    story.reports.push_back(report);
    if (report.step == plan.stop_at) stop = true;
    if (report.step == plan.crash_at) throw std::runtime_error("crash");
  };
  hooks.on_message = [&](const std::string& message) { story.messages.push_back(message); };
  hooks.on_warning = [&](const std::string& message) { story.warnings.push_back(message); };
  size_t evaluations = 0;
  hooks.evaluate = [&](LanguageModel&) { return plan.held_out.empty() ? 4.5 : plan.held_out.at(evaluations++); };
  hooks.sample = [](LanguageModel&, Random& random) { return fmt::format("sample {}", random()); };
  hooks.on_sample = [&](int64_t, const std::string& text) { story.samples.push_back(text); };
  Trainer trainer(make_settings(plan.model, plan.overrides), data, run);
  story.result = trainer.run(hooks, kProgram);
  return story;
}

// The message of what ended the run; "" when it came to its end.
std::string failure(const Plan& plan, const fs::path& data, const fs::path& run) {
  try {
    (void)train(plan, data, run);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::vector<json> metrics_of(const fs::path& run) {
  std::vector<json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

// Metrics without what the clock and the machine have a say in.
std::vector<std::string> repeatable_metrics(const fs::path& run) {
  std::vector<std::string> lines;
  for (json line : metrics_of(run)) {
    for (const char* key : {"speed/bytes_per_second", "speed/step_seconds", "speed/data_seconds", "speed/flops",
                            "memory/peak_bytes", "train/seconds", "created_at"}) {
      line.erase(key);
    }
    lines.push_back(line.dump());
  }
  return lines;
}

fs::path checkpoint(const fs::path& run, int64_t step) { return run / "checkpoints" / fmt::format("{:010}", step); }

void expect_same_run(const fs::path& a, const fs::path& b, int64_t step) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    // Not EXPECT_EQ: thousands of bytes help nobody.
    EXPECT_TRUE(ScratchFolder::read(checkpoint(a, step) / file) == ScratchFolder::read(checkpoint(b, step) / file))
        << file << " differs";
  }
  json left = json::parse(ScratchFolder::read(checkpoint(a, step) / "state.json"));
  json right = json::parse(ScratchFolder::read(checkpoint(b, step) / "state.json"));
  for (const char* key : {"step", "epoch", "index", "optimizer_steps", "sample_generator", "bytes", "average_bits",
                          "best_average_bits", "best_eval_bits"}) {
    EXPECT_EQ(left.at(key), right.at(key)) << key;
  }
  EXPECT_EQ(repeatable_metrics(a), repeatable_metrics(b));
}

class trainer : public ::testing::Test {
 protected:
  ScratchFolder folder_;
  fs::path data_ = make_corpus(folder_, "data", testing::sample_documents(6, 400));
  fs::path run_ = folder_ / "run";
};

// --- the same run ---

struct Case {
  std::string name, model, precision;
  std::vector<std::string> overrides = {};
};

class resumed_run : public ::testing::TestWithParam<Case> {};

TEST_P(resumed_run, equals_one_in_one_go_bit_for_bit) {
  const ScratchFolder folder;
  const fs::path data = make_corpus(folder, "data", testing::sample_documents(6, 400));
  std::vector<std::string> overrides = {"train.precision=" + GetParam().precision, "optim.accumulation=2",
                                        "train.eval_every=5", "train.sample_every=5"};
  overrides.insert(overrides.end(), GetParam().overrides.begin(), GetParam().overrides.end());
  const Story whole = train({.model = GetParam().model, .overrides = overrides}, data, folder / "whole");
  ASSERT_EQ(whole.result.steps, 20);
  EXPECT_EQ(whole.result.end, TrainEnd::kFinished);

  const Story first = train({.model = GetParam().model, .overrides = overrides, .stop_at = 10}, data, folder / "parts");
  EXPECT_EQ(first.result.steps, 10);
  EXPECT_EQ(first.result.end, TrainEnd::kInterrupted);
  // Threads of data preparation are no part of a run's identity.
  std::vector<std::string> more_threads = overrides;
  more_threads.push_back("data.threads=3");
  const Story second = train({.model = GetParam().model, .overrides = more_threads}, data, folder / "parts");
  EXPECT_EQ(second.result.steps, 20);
  EXPECT_THAT(second.messages, Contains(HasSubstr("resumed at step 10")));
  EXPECT_THAT(second.warnings, IsEmpty());

  expect_same_run(folder / "whole", folder / "parts", 20);
  std::vector<std::string> samples = first.samples;
  samples.insert(samples.end(), second.samples.begin(), second.samples.end());
  EXPECT_EQ(samples, whole.samples);
  EXPECT_EQ(samples.size(), 4u);
  EXPECT_NE(samples[0], samples[1]);
  EXPECT_LT(second.reports.back().average_bits_per_byte, first.reports.front().bits_per_byte) << "nothing was learnt";
}

INSTANTIATE_TEST_SUITE_P(
    families, resumed_run,
    ::testing::Values(Case{"byte_float32", testing::kByteModel, "float32"},
                      Case{"byte_bfloat16", testing::kByteModel, "bfloat16"},
                      Case{"patch_float32", testing::kPatchModel, "float32"},
                      Case{"patch_bfloat16", testing::kPatchModel, "bfloat16"},
                      Case{"autoencoder_float32", testing::kAutoencoder, "float32", testing::kDisturbances},
                      Case{"autoencoder_bfloat16", testing::kAutoencoder, "bfloat16", testing::kDisturbances},
                      Case{"words_float32", testing::kWordModel, "float32"},
                      Case{"words_bfloat16", testing::kWordModel, "bfloat16"},
                      Case{"token_float32", testing::kTokenModel, "float32"},
                      Case{"token_bfloat16", testing::kTokenModel, "bfloat16"}),
    [](const auto& info) { return info.param.name; });

TEST_F(trainer, gives_the_same_bits_twice) {
  const Plan plan{.model = testing::kPatchModel};
  (void)train(plan, data_, folder_ / "a");
  (void)train(plan, data_, folder_ / "b");
  expect_same_run(folder_ / "a", folder_ / "b", 20);
  (void)train({.model = testing::kPatchModel, .overrides = {"train.seed=2"}}, data_, folder_ / "c");
  EXPECT_NE(repeatable_metrics(folder_ / "a"), repeatable_metrics(folder_ / "c")) << "the seed does nothing";
}

TEST_F(trainer, gradient_checkpointing_changes_no_bit) {
  for (const std::string& model : {testing::kByteModel, testing::kPatchModel}) {
    for (const char* precision : {"train.precision=float32", "train.precision=bfloat16"}) {
      fs::remove_all(folder_ / "a");
      fs::remove_all(folder_ / "b");
      (void)train({.model = model, .overrides = {"train.steps=4", precision}}, data_, folder_ / "a");
      (void)train({.model = model, .overrides = {"train.steps=4", precision, "train.checkpoint_gradients=true"}}, data_,
                  folder_ / "b");
      expect_same_run(folder_ / "a", folder_ / "b", 4);
    }
  }
}

// --- learning ---

TEST_F(trainer, overfits_one_batch) {
  const fs::path data = make_corpus(folder_, "one", {testing::sample_text(400, 1)});
  const Story story = train({.overrides = {"train.steps=250", "data.window_bytes=512", "data.batch_bytes=512",
                                           "backbone.width=48", "train.explosion_factor=0"}},
                            data, run_);
  // Uniform bytes cost 8 bits; a model that only knows the words of the text needs about 0.8.
  EXPECT_GT(story.reports.front().bits_per_byte, 6);
  EXPECT_LT(story.reports.back().bits_per_byte, 0.1);
}

TEST_F(trainer, accumulation_adds_up_batches) {
  // One batch of 512 bytes, or two of 256: with pieces of the same size the same text, so the same mean gradient.
  std::vector<std::string> documents;
  for (int i = 0; i < 16; ++i) documents.push_back(testing::sample_text(80, static_cast<uint64_t>(i)).substr(0, 60));
  const fs::path data = make_corpus(folder_, "even", documents);
  const Story one = train({.overrides = {"train.steps=1", "data.batch_bytes=512"}}, data, folder_ / "a");
  const Story two =
      train({.overrides = {"train.steps=1", "data.batch_bytes=256", "optim.accumulation=2"}}, data, folder_ / "b");
  EXPECT_EQ(one.result.bytes, two.result.bytes);
  EXPECT_NEAR(one.reports[0].gradient_norm, two.reports[0].gradient_norm, 1e-4);
  EXPECT_NEAR(one.reports[0].bits_per_byte, two.reports[0].bits_per_byte, 1e-5);
}

// --- what a run folder holds ---

TEST_F(trainer, writes_the_whole_run_folder) {
  (void)train({.overrides = {"train.steps=6", "train.eval_every=3", "train.sample_every=3", "checkpoint.every=3",
                             "log.tensorboard=true"}},
              data_, run_);
  for (const char* name : {"config.toml", "environment.json", "metrics.jsonl", "latest", "tb", "checkpoints/0000000003",
                           "checkpoints/0000000006/config.json", "checkpoints/0000000006/model.safetensors",
                           "checkpoints/0000000006/optimizer.safetensors", "checkpoints/0000000006/state.json",
                           "checkpoints/0000000006/README.md"}) {
    EXPECT_TRUE(fs::exists(run_ / name)) << name;
  }
  EXPECT_THAT(ScratchFolder::read(run_ / "samples/0000000003.txt"), HasSubstr("sample "));
  EXPECT_TRUE(fs::exists(run_ / "samples/0000000006.txt"));
  EXPECT_EQ(json::parse(ScratchFolder::read(run_ / "environment.json")).at("command"), "verbatim train");
  // The saved settings are complete and reproduce the run.
  RunSettings saved;
  SettingsTree::from_toml_file(run_ / "config.toml").apply_to(saved);
  EXPECT_EQ(saved.train.steps, 6);
  EXPECT_EQ(saved.data.batch_bytes, 256);
  EXPECT_EQ(saved.model->backbone.stack.layers, 2);
  EXPECT_GT(load_model(run_)->parameter_count(), 1000);
}

TEST_F(trainer, refuses_a_run_folder_that_another_training_writes) {
  Trainer first(make_settings(testing::kByteModel), data_, run_);
  first.claim_run_folder();
  EXPECT_THAT(failure({}, data_, run_), AllOf(HasSubstr(run_.string()), HasSubstr(fmt::format("{}", ::getpid()))));
  EXPECT_FALSE(fs::exists(run_ / "metrics.jsonl"));
  (void)first.run({}, kProgram);
  EXPECT_TRUE(fs::exists(run_ / "latest"));
}

TEST_F(trainer, removes_half_written_files_of_a_killed_run) {
  fs::create_directories(run_ / "samples");
  for (const char* name : {".latest.12-0.tmp", "samples/.0000000003.txt.12-1.tmp"}) {
    std::ofstream(run_ / name) << "half";
  }
  std::ofstream(run_ / "samples/notes.tmp") << "the user's";
  (void)train({.overrides = {"train.steps=1"}}, data_, run_);
  EXPECT_FALSE(fs::exists(run_ / ".latest.12-0.tmp"));
  EXPECT_FALSE(fs::exists(run_ / "samples/.0000000003.txt.12-1.tmp"));
  EXPECT_TRUE(fs::exists(run_ / "samples/notes.tmp"));
}

TEST_F(trainer, metrics_have_the_promised_keys) {
  (void)train({.overrides = {"train.steps=2", "train.eval_every=2"}}, data_, run_);
  const std::vector<json> lines = metrics_of(run_);
  ASSERT_EQ(lines.size(), 3u);
  for (const char* key : {"global_step", "loss/train", "loss/bpb", "optim/lr", "optim/grad_norm", "optim/total_bytes",
                          "speed/bytes_per_second", "speed/step_seconds", "speed/data_seconds", "speed/flops",
                          "memory/peak_bytes", "chunk/mean_bytes"}) {
    ASSERT_TRUE(lines[0].contains(key)) << key;
    EXPECT_TRUE(lines[0].at(key).is_number()) << key;
  }
  const auto time = lines[0].at("created_at").get<std::string>();
  EXPECT_TRUE(std::regex_match(time, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"))) << time;
  EXPECT_EQ(lines[0].at("global_step"), 1);
  EXPECT_EQ(lines[2].at("global_step"), 2);
  EXPECT_EQ(lines[2].at("eval/bpb"), 4.5);
  // Warm-up of 3 steps to 1e-2; progress counts the steps behind.
  EXPECT_NEAR(lines[0].at("optim/lr").get<double>(), 1e-2 / 3, 1e-9);
  EXPECT_EQ(lines[1].at("optim/total_bytes").get<int64_t>(),
            json::parse(ScratchFolder::read(checkpoint(run_, 2) / "state.json")).at("bytes").get<int64_t>());
}

TEST_F(trainer, tells_speed_as_a_share_of_the_machines_only_when_it_was_measured) {
  (void)train({.overrides = {"train.steps=2"}}, data_, folder_ / "unmeasured");
  for (const json& line : metrics_of(folder_ / "unmeasured")) EXPECT_FALSE(line.contains("speed/mfu"));
  (void)train({.overrides = {"train.steps=2", "log.measure_seconds=0.01"}}, data_, run_);
  const std::vector<json> lines = metrics_of(run_);
  ASSERT_EQ(lines.size(), 2u);
  // One rate for the whole run.
  const auto rate_of = [](const json& line) {
    return line.at("speed/flops").get<double>() / line.at("speed/mfu").get<double>();
  };
  EXPECT_NEAR(rate_of(lines[0]) / rate_of(lines[1]), 1, 1e-4);
  // Above any program without vectors and below any machine.
  EXPECT_GT(rate_of(lines[0]), 1e8);
  EXPECT_LT(rate_of(lines[0]), 1e17);
  EXPECT_GT(lines[0].at("speed/mfu").get<double>(), 0);
  // A model of a few thousand parameters is far from the limit of large products.
  EXPECT_LT(lines[1].at("speed/mfu").get<double>(), 0.9);
}

TEST_F(trainer, cuts_metrics_back_to_the_checkpoint_it_resumes_from) {
  const std::vector<std::string> overrides = {"train.steps=12", "checkpoint.every=4"};
  EXPECT_EQ(failure({.overrides = overrides, .crash_at = 10}, data_, run_), "crash");
  EXPECT_EQ(metrics_of(run_).size(), 10u);
  const Story story = train({.overrides = overrides}, data_, run_);
  EXPECT_THAT(story.messages, Contains(HasSubstr("resumed at step 8")));
  std::vector<int64_t> steps;
  for (const json& line : metrics_of(run_)) steps.push_back(line.at("global_step"));
  EXPECT_THAT(steps, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  // And what was done twice came out the same.
  (void)train({.overrides = overrides}, data_, folder_ / "whole");
  expect_same_run(folder_ / "whole", run_, 12);
}

TEST_F(trainer, keeps_the_newest_and_every_nth_checkpoint) {
  (void)train({.overrides = {"train.steps=10", "checkpoint.every=1", "checkpoint.keep=2", "checkpoint.keep_every=4"}},
              data_, run_);
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(4, 8, 9, 10));
}

TEST_F(trainer, keeps_the_checkpoint_that_predicts_held_out_text_best) {
  const std::vector<std::string> rules = {"checkpoint.every=2", "checkpoint.keep=1", "train.eval_every=1"};
  std::vector<std::string> first = rules, second = rules;
  first.emplace_back("train.steps=6");
  second.emplace_back("train.steps=8");
  // Step 3 is better, but not saved.
  const Story story = train({.overrides = first, .held_out = {5, 4, 3, 4.5, 4.2, 4.1}}, data_, run_);
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(2, 6));
  EXPECT_EQ(ScratchFolder::read(run_ / "best"), "0000000002\n");
  EXPECT_EQ(find_model_folder(run_ / "best"), checkpoint(run_, 2));
  EXPECT_EQ(find_model_folder(run_), checkpoint(run_, 6));
  EXPECT_THAT(story.messages.back(),
              AllOf(HasSubstr("best at step 2 (4.0000 bits per byte)"), HasSubstr("0000000002")));
  // A resumed run remembers.
  (void)train({.overrides = second, .held_out = {6, 3.9}}, data_, run_);
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(8));
  EXPECT_EQ(ScratchFolder::read(run_ / "best"), "0000000008\n");
}

TEST_F(trainer, saves_at_the_end_without_a_rule) {
  (void)train({.overrides = {"train.steps=3"}}, data_, run_);
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(3));
}

TEST_F(trainer, a_finished_run_stays_as_it_is) {
  (void)train({.overrides = {"train.steps=3"}}, data_, run_);
  const std::string before = ScratchFolder::read(checkpoint(run_, 3) / "state.json");
  const Story again = train({.overrides = {"train.steps=3"}}, data_, run_);
  EXPECT_EQ(again.result.end, TrainEnd::kFinished);
  EXPECT_THAT(again.reports, IsEmpty());
  EXPECT_EQ(ScratchFolder::read(checkpoint(run_, 3) / "state.json"), before);
  EXPECT_EQ(metrics_of(run_).size(), 3u);
}

TEST_F(trainer, stops_by_time) {
  const Story story = train({.overrides = {"train.steps=0", "train.max_seconds=0.2"}}, data_, run_);
  EXPECT_EQ(story.result.end, TrainEnd::kFinished);
  EXPECT_GE(story.result.seconds, 0.2);
  EXPECT_GE(story.reports.back().progress, 0);
}

// Whatever a batch costs: a run ends with the step that reaches the number of operations, and the schedule with it.
TEST_F(trainer, stops_by_operations_and_resumes_to_the_same) {
  const std::string patches = testing::kPatchModel;
  (void)train({.model = patches, .overrides = {"train.steps=9", "optim.schedule=constant"}}, data_, run_);
  std::vector<double> spent;
  for (const nlohmann::json& line : metrics_of(run_)) {
    if (line.contains("optim/total_flops")) spent.push_back(line.at("optim/total_flops").get<double>());
  }
  ASSERT_EQ(spent.size(), 9u);
  EXPECT_TRUE(std::is_sorted(spent.begin(), spent.end()));
  EXPECT_GT(spent[0], 0);

  const auto until = [&](double flops) {
    return std::vector<std::string>{"train.steps=0", fmt::format("train.max_flops={:.1f}", flops)};
  };
  const Story whole = train({.model = patches, .overrides = until(spent[6])}, data_, folder_ / "whole");
  EXPECT_EQ(whole.result.end, TrainEnd::kFinished);
  EXPECT_EQ(whole.result.steps, 7);
  EXPECT_EQ(whole.reports.back().progress, 1);
  EXPECT_NEAR(whole.reports.back().learning_rate,
              1e-2 * (0.1 + 0.9 * 0.5 * (1 + std::cos(std::numbers::pi * spent[5] / spent[6]))), 1e-9);
  EXPECT_EQ(train({.model = patches, .overrides = until(spent[6] + 1)}, data_, folder_ / "more").result.steps, 8);

  (void)train({.model = patches, .overrides = until(spent[6]), .stop_at = 3}, data_, folder_ / "parts");
  (void)train({.model = patches, .overrides = until(spent[6])}, data_, folder_ / "parts");
  expect_same_run(folder_ / "whole", folder_ / "parts", 7);
}

// --- what goes wrong ---

TEST_F(trainer, falls_back_behind_a_damaged_checkpoint_and_arrives_at_the_same) {
  const std::vector<std::string> overrides = {"train.steps=12", "checkpoint.every=4"};
  (void)train({.overrides = overrides, .stop_at = 8}, data_, run_);
  testing::damage(checkpoint(run_, 8) / "model.safetensors");
  const Story story = train({.overrides = overrides}, data_, run_);
  ASSERT_EQ(story.warnings.size(), 1u);
  EXPECT_THAT(story.warnings[0], HasSubstr("checksum"));
  EXPECT_THAT(story.messages, Contains(HasSubstr("resumed at step 4")));
  (void)train({.overrides = overrides}, data_, folder_ / "whole");
  expect_same_run(folder_ / "whole", run_, 12);
}

// An imported T-Free model has no calibration; one may be learnt when it is trained on.
TEST_F(trainer, goes_on_with_parameters_that_a_setting_newly_switches_on) {
  const std::string off = "decoder.calibrate=false", on = "decoder.calibrate=true";
  (void)train({.model = testing::kWordModel, .overrides = {"train.steps=4", off}}, data_, run_);
  EXPECT_THAT(train({.model = testing::kWordModel, .overrides = {"train.steps=5", off}}, data_, run_).warnings,
              IsEmpty());

  const Story started =
      train({.model = testing::kWordModel, .overrides = {"train.steps=3", on, "train.from=" + run_.string()}}, data_,
            folder_ / "from");
  EXPECT_THAT(started.messages, Contains(AllOf(HasSubstr("decoder.calibration.weight"), HasSubstr("initial values"))));
  EXPECT_EQ(started.result.steps, 3);

  const Story resumed = train({.model = testing::kWordModel, .overrides = {"train.steps=9", on}}, data_, run_);
  EXPECT_THAT(resumed.warnings, Contains(HasSubstr("decoder.escape.bias")));
  EXPECT_THAT(resumed.messages, Contains(HasSubstr("resumed at step 5")));
  // From then on they are in the checkpoint like all others.
  const Story again = train({.model = testing::kWordModel, .overrides = {"train.steps=10", on}}, data_, run_);
  EXPECT_THAT(again.warnings, IsEmpty());
  EXPECT_EQ(again.result.steps, 10);
}

TEST_F(trainer, refuses_a_corpus_of_another_size) {
  (void)train({.overrides = {"train.steps=2"}}, data_, run_);
  const fs::path other = make_corpus(folder_, "other", testing::sample_documents(7, 400));
  EXPECT_THAT(failure({.overrides = {"train.steps=4"}}, other, run_), HasSubstr("was trained on"));
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(2));
}

TEST_F(trainer, refuses_settings_that_do_not_fit_together) {
  EXPECT_THAT(failure({.overrides = {"train.steps=0"}}, data_, run_), HasSubstr("train.max_seconds"));
  EXPECT_THAT(failure({.overrides = {"data.window_bytes=512"}}, data_, run_), HasSubstr("batch_bytes"));
  if (!torch::cuda::is_available()) {
    EXPECT_THAT(failure({.overrides = {"train.device=cuda"}}, data_, run_), HasSubstr("no CUDA device"));
  }
  EXPECT_FALSE(fs::exists(run_));
}

// One byte's row of the table is not a number: training goes well until a batch with that byte comes.
TEST_F(trainer, stops_at_a_loss_that_is_not_a_number_and_names_the_batch) {
  std::vector<std::string> documents = testing::sample_documents(12, 150);
  documents.push_back("Zebra " + testing::sample_text(50, 99));
  const fs::path data = make_corpus(folder_, "zebra", documents);
  const std::vector<std::string> overrides = {"train.steps=200", "checkpoint.every=1"};
  const Corpus corpus = Corpus::open(data);
  const SamplerOptions sampling = {.window_bytes = 64, .batch_bytes = 256, .seed = 1};
  const auto has_zebra = [&](const std::vector<Piece>& pieces) {
    return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
      const std::string_view text = corpus.train().document(piece.document);
      return text.substr(piece.begin, piece.end - piece.begin).find('Z') != std::string_view::npos;
    });
  };

  // A checkpoint behind the first batch, with the bad row.
  PieceSampler sampler(corpus.train(), sampling);
  ASSERT_FALSE(has_zebra(sampler.next())) << "choose another seed";
  const auto settings = make_settings(testing::kByteModel, overrides);
  const auto model = LanguageModel::create(settings->model, 1, ".");
  Optimizer optimizer(*model, settings->optim);
  optimizer.set_steps(1);
  {
    torch::NoGradGuard no_grad;
    model->encoder().table()[static_cast<int64_t>('Z')].fill_(std::nan(""));
  }
  RunState state;
  state.step = 1;
  state.data = sampler.position();
  state.sample_generator = Random(1).state();
  state.average_bits = state.best_average_bits = 8;
  state.data_bytes = corpus.train().total_bytes();
  CheckpointFolder(run_).save(*model, optimizer, state, "");

  const std::string message = failure({.overrides = overrides}, data, run_);
  std::smatch match;
  ASSERT_TRUE(std::regex_search(
      message, match, std::regex(R"(step (\d+) \(batch at epoch (\d+), piece (\d+)\).*checkpoint of step (\d+))")))
      << message;
  const int64_t step = std::stoll(match[1]);
  int64_t bad_step = 2;
  while (!has_zebra(sampler.next())) ++bad_step;
  EXPECT_EQ(step, bad_step);
  EXPECT_EQ(std::stoll(match[4]), step - 1);
  PieceSampler named(corpus.train(), sampling);
  named.seek({.epoch = std::stoull(match[2]), .index = std::stoull(match[3])});
  EXPECT_TRUE(has_zebra(named.next()));
  // The last checkpoint is that of the step before, whole.
  std::vector<std::string> warnings;
  Optimizer fresh(*model, settings->optim);
  EXPECT_EQ(CheckpointFolder(run_).load(*model, fresh, warnings).value().step, step - 1);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(trainer, stops_when_the_loss_explodes_and_keeps_the_checkpoint_from_before) {
  const std::vector<std::string> overrides = {"train.steps=300", "optim.warmup=0", "optim.learning_rate=0",
                                              "checkpoint.every=5", "checkpoint.keep=1"};
  // A model that knows nothing, in a run that has seen 0.5 bits per byte.
  const auto settings = make_settings(testing::kByteModel, overrides);
  const auto model = LanguageModel::create(settings->model, 1, ".");
  Optimizer optimizer(*model, settings->optim);
  RunState state;
  state.step = 10;
  state.sample_generator = Random(1).state();
  state.average_bits = state.best_average_bits = 0.5;
  state.data_bytes = Corpus::open(data_).train().total_bytes();
  CheckpointFolder(run_).save(*model, optimizer, state, "");
  const std::string message = failure({.overrides = overrides}, data_, run_);
  EXPECT_THAT(message, HasSubstr("0.500 bits per byte"));
  EXPECT_THAT(message, HasSubstr("up to step 60"));
  EXPECT_THAT(message, HasSubstr("checkpoint of step 10 is intact"));
  EXPECT_THAT(CheckpointFolder(run_).steps(), ElementsAre(10));
  // The same run without the guard goes on.
  std::vector<std::string> unguarded = overrides;
  unguarded.insert(unguarded.end(), {"train.explosion_factor=0", "train.steps=70"});
  EXPECT_EQ(train({.overrides = unguarded}, data_, run_).result.steps, 70);
}

TEST_F(trainer, a_copy_on_the_cpu_computes_the_same) {
  const ScratchFolder files;
  for (const std::string& toml : {testing::kPatchModel, testing::kTokenModel}) {
    const auto model = LanguageModel::create(make_settings(toml)->model, 3, ".");
    for (const auto& [name, contents] : model->files()) files.write(name, contents);
    const auto copy = cpu_copy(*model, files.path());
    StreamState a = model->start(), b = copy->start();
    model->read(a, "The river");
    copy->read(b, "The river");
    EXPECT_EQ(a.newest_D, b.newest_D);
    {
      torch::NoGradGuard no_grad;
      for (const at::Tensor& parameter : model->parameters()) parameter.fill_(0);
    }
    StreamState c = copy->start();
    copy->read(c, "The river");
    EXPECT_EQ(c.newest_D, b.newest_D) << "shares its weights";
  }
}

}  // namespace
}  // namespace verbatim
