#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thread>

#include "base/error.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "train/training_run.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A tiny model whose weights and moments are all the same number, so that a mixture of two checkpoints shows.
struct Subject {
  std::shared_ptr<RunSettings> settings = testing::make_settings(testing::kByteModel, {"backbone.layers=1"});
  std::shared_ptr<LanguageModel> model = LanguageModel::create(settings->model, 1, ".");
  Optimizer optimizer{*model, settings->optim};

  void fill(double value) {
    torch::NoGradGuard no_grad;
    for (const at::Tensor& parameter : model->parameters()) {
      parameter.fill_(value);
      parameter.mutable_grad().fill_(1);
    }
  }
  [[nodiscard]] bool holds(double value) const {
    for (const at::Tensor& parameter : model->parameters()) {
      if (!parameter.eq(value).all().item<bool>()) return false;
    }
    return true;
  }
  void save(CheckpointFolder& folder, int64_t step) {
    fill(static_cast<double>(step));
    optimizer.set_steps(step);
    RunState state;
    state.step = step;
    state.data = {.epoch = 3, .index = static_cast<uint64_t>(step)};
    state.sample_generator = Random(7).state();
    state.seconds = 0.1 * static_cast<double>(step);
    state.average_bits = 1.0 / 3;
    folder.save(*model, optimizer, state, "card");
  }
};

TEST(checkpoint, loads_what_it_saved) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 12);
  Subject other;
  std::vector<std::string> warnings;
  const auto state = folder.load(*other.model, other.optimizer, warnings);
  ASSERT_TRUE(state.has_value());
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(state->step, 12);
  EXPECT_EQ(state->data, (SamplerPosition{.epoch = 3, .index = 12}));
  EXPECT_EQ(state->sample_generator, Random(7).state());
  EXPECT_EQ(state->seconds, 0.1 * 12);
  EXPECT_EQ(state->average_bits, 1.0 / 3);
  EXPECT_EQ(other.optimizer.steps(), 12);
  EXPECT_TRUE(other.holds(12));
  EXPECT_EQ(testing::ScratchFolder::read(run / "latest"), "0000000012\n");
  EXPECT_EQ(find_model_folder(run.path()), run / "checkpoints/0000000012");
  EXPECT_TRUE(at::equal(load_model(run.path())->parameters()[0], subject.model->parameters()[0]));
}

TEST(checkpoint, an_empty_run_has_nothing_to_load) {
  const testing::ScratchFolder run;
  Subject subject;
  std::vector<std::string> warnings;
  EXPECT_FALSE(CheckpointFolder(run.path()).load(*subject.model, subject.optimizer, warnings).has_value());
  EXPECT_THAT(warnings, IsEmpty());
}

class damaged_checkpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(damaged_checkpoint, gives_way_to_the_one_before) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  subject.save(folder, 20);
  testing::damage(run / ("checkpoints/0000000020/" + GetParam()));
  std::vector<std::string> warnings;
  const auto state = folder.load(*subject.model, subject.optimizer, warnings);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->step, 10);
  EXPECT_TRUE(subject.holds(10));
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0], HasSubstr("0000000020"));

  folder.set_aside_after(10);
  EXPECT_THAT(folder.steps(), ElementsAre(10));
  EXPECT_TRUE(std::filesystem::exists(run / "checkpoints/0000000020.damaged"));
  EXPECT_EQ(testing::ScratchFolder::read(run / "latest"), "0000000010\n");
  // The damaged one does not count when old ones are removed.
  subject.save(folder, 15);
  folder.prune(1, 0);
  EXPECT_THAT(folder.steps(), ElementsAre(15));
}

TEST_P(damaged_checkpoint, gives_way_when_the_file_is_missing) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  subject.save(folder, 20);
  std::filesystem::remove(run / ("checkpoints/0000000020/" + GetParam()));
  std::vector<std::string> warnings;
  EXPECT_EQ(folder.load(*subject.model, subject.optimizer, warnings).value().step, 10);
  EXPECT_THAT(warnings, SizeIs(1));
}

TEST_P(damaged_checkpoint, is_refused_when_there_is_no_other) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  testing::damage(run / ("checkpoints/0000000010/" + GetParam()));
  std::vector<std::string> warnings;
  EXPECT_THROW((void)folder.load(*subject.model, subject.optimizer, warnings), InputError);
}

INSTANTIATE_TEST_SUITE_P(files, damaged_checkpoint,
                         ::testing::Values("model.safetensors", "optimizer.safetensors", "state.json", "config.json"),
                         [](const auto& info) { return info.param.substr(0, info.param.find('.')); });

TEST(checkpoint, a_changed_card_is_no_damage) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  testing::damage(run / "checkpoints/0000000010/README.md");
  std::vector<std::string> warnings;
  EXPECT_TRUE(folder.load(*subject.model, subject.optimizer, warnings).has_value());
}

TEST(checkpoint, of_another_shape_is_refused_with_the_reason) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  const auto settings = testing::make_settings(testing::kByteModel, {"backbone.layers=1", "backbone.width=32"});
  const auto wider = LanguageModel::create(settings->model, 1, ".");
  Optimizer optimizer(*wider, settings->optim);
  std::vector<std::string> warnings;
  try {
    (void)folder.load(*wider, optimizer, warnings);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("shape"));
    EXPECT_THAT(error.what(), HasSubstr("--out"));
  }
}

TEST(checkpoint, keeps_the_newest_and_every_nth) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  for (int64_t step = 1; step <= 10; ++step) {
    subject.save(folder, step);
    folder.prune(/*keep=*/2, /*keep_every=*/4);
  }
  EXPECT_THAT(folder.steps(), ElementsAre(4, 8, 9, 10));
  folder.prune(1, 0);
  EXPECT_THAT(folder.steps(), ElementsAre(10));
}

TEST(checkpoint, leftovers_of_an_interrupted_save_go) {
  const testing::ScratchFolder run;
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 10);
  std::filesystem::create_directories(run / "checkpoints/0000000011.unfinished");
  EXPECT_THAT(folder.steps(), ElementsAre(10));
  folder.remove_leftovers();
  EXPECT_FALSE(std::filesystem::exists(run / "checkpoints/0000000011.unfinished"));
  EXPECT_THAT(folder.steps(), ElementsAre(10));
}

// Saves one checkpoint after the other until it is killed; tells each finished one through the pipe.
[[noreturn]] void save_for_ever(const std::filesystem::path& run, int pipe) {
  try {
    CheckpointFolder folder(run);
    Subject subject;
    std::vector<std::string> warnings;
    folder.remove_leftovers();
    int64_t step = folder.load(*subject.model, subject.optimizer, warnings).value().step;
    while (true) {
      ++step;
      subject.save(folder, step);
      if (write(pipe, &step, sizeof(step)) != sizeof(step)) _exit(3);
      folder.prune(/*keep=*/1, /*keep_every=*/0);
    }
  } catch (...) {
    _exit(4);
  }
}

TEST(checkpoint, survives_kill_minus_9_at_a_hundred_random_moments) {
  const testing::ScratchFolder run;
  const auto seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "seed " << seed << "\n";
  Random random(seed);
  CheckpointFolder folder(run.path());
  Subject subject;
  subject.save(folder, 1);
  int64_t newest = 1;
  int with_leftovers = 0;
  for (int round = 0; round < 100; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      save_for_ever(run.path(), pipe_ends[1]);
    }
    close(pipe_ends[1]);
    // The clock starts with the first finished checkpoint: before, the child only starts up.
    int64_t step = 0;
    ASSERT_EQ(read(pipe_ends[0], &step, sizeof(step)), static_cast<ssize_t>(sizeof(step)));
    newest = step;
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(30'000)));
    ASSERT_EQ(kill(child, SIGKILL), 0) << "the child left by itself";
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child left with " << WEXITSTATUS(status);
    while (read(pipe_ends[0], &step, sizeof(step)) == static_cast<ssize_t>(sizeof(step))) newest = step;
    close(pipe_ends[0]);

    for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints")) {
      with_leftovers += entry.path().extension() == ".unfinished" ? 1 : 0;
    }
    // Readers of the run find a whole model, without any repair.
    (void)load_model_settings(run.path());
    std::vector<std::string> warnings;
    const auto state = folder.load(*subject.model, subject.optimizer, warnings);
    ASSERT_TRUE(state.has_value());
    ASSERT_THAT(warnings, IsEmpty()) << "round " << round;
    ASSERT_GE(state->step, newest) << "round " << round;
    ASSERT_LE(state->step, newest + 1) << "round " << round;
    ASSERT_TRUE(subject.holds(static_cast<double>(state->step))) << "round " << round;
    ASSERT_EQ(subject.optimizer.steps(), state->step);
  }
  EXPECT_GT(with_leftovers, 0) << "no kill fell into a save: the moments are badly chosen";
}

}  // namespace
}  // namespace verbatim
