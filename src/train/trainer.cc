#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/random.h"
#include "corpus/corpus.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "settings/settings_tree.h"
#include "train/batch_source.h"
#include "train/product_rate.h"
#include "train/schedule.h"
#include "train/step_log.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The loss stays far above its best for this many steps: it will not come back.
constexpr int64_t kExplosionSteps = 50;
constexpr double kAverageDecay = 0.98;
constexpr int64_t kStepsBetweenWarnings = 500;
constexpr int64_t kStepsBetweenFlushes = 100;

struct StepResult {
  StepFigures figures;
  SamplerPosition taken_from;  // of its first batch
  SamplerPosition next;
};

// How text is disturbed before an autoencoder gives it back; none for a language model.
std::optional<ReconstructionOptions> reconstruction_of(const RunSettings& settings) {
  if (!settings.model->backbone.is_none()) return std::nullopt;
  return ReconstructionOptions{.random_characters = settings.data.random_characters,
                               .random_shift = static_cast<uint32_t>(settings.data.random_shift),
                               .noise = settings.data.noise,
                               .case_change = settings.data.case_change,
                               .seed = mix_seed(static_cast<uint64_t>(settings.train.seed), 3)};
}

}  // namespace

at::Device device_of(const std::string& name) {
  if (name == "cuda" || (name == "auto" && torch::cuda::is_available())) {
    if (!torch::cuda::is_available())
      throw_input("train.device is \"cuda\", but LibTorch sees no CUDA device; use \"cpu\"");
    return at::Device(at::kCUDA);
  }
  return at::Device(at::kCPU);
}

at::ScalarType compute_type_of(const std::string& precision, const at::Device& device) {
  if (precision == "float32") return at::kFloat;
  if (precision == "bfloat16") return at::kBFloat16;
  return device.is_cuda() || cpu_multiplies_bfloat16() ? at::kBFloat16 : at::kFloat;
}

Trainer::Trainer(std::shared_ptr<RunSettings> settings, fs::path data, fs::path run)
    : settings_(std::move(settings)), data_(std::move(data)), run_(std::move(run)) {
  settings_->validate();
  // A resumed run finds the family's files in its own checkpoint; a new one beside the data.
  const fs::path checkpoint_tokenizer = run_ / "tokenizer";
  const bool resumes = fs::is_directory(checkpoint_tokenizer);
  const fs::path source =
      settings_->train.from.empty() || resumes ? fs::path() : find_model_folder(settings_->train.from);
  model_ = LanguageModel::create(settings_->model, static_cast<uint64_t>(settings_->train.seed),
                                 resumes ? checkpoint_tokenizer : (source.empty() ? data_ : source));
  if (source.empty()) return;
  const std::vector<std::string> added = load_weights(*model_, source);
  if (!added.empty()) notes_.push_back(describe_new_parameters(added, source));
}

void Trainer::claim_run_folder() {
  if (lock_ != nullptr) return;
  fs::create_directories(run_);
  lock_ = std::make_unique<FolderLock>(run_);
}

void Trainer::write_run_files(const ProgramInfo& program) const {
  fs::create_directories(run_ / "samples");
  for (const auto& [name, contents] : model_->files()) {
    fs::create_directories(run_ / "tokenizer");
    write_file_atomically(run_ / "tokenizer" / name, contents);
  }
  write_file_atomically(run_ / "config.toml", to_toml(*settings_, /*with_comments=*/true));
  write_file_atomically(run_ / "environment.json", environment_json(program, data_));
}

std::string Trainer::model_card(const RunState& state) const {
  std::string card = "---\nlibrary_name: verbatim\ntags: [tokenizer-free, language-model]\n---\n\n";
  card += fmt::format("# A {} language model\n\n", settings_->model->family);
  card += fmt::format("- parameters: {} ({} outside tables of symbols)\n", model_->parameter_count(),
                      model_->parameter_count_without_tables());
  card += fmt::format("- trained on {} bytes of text ({} in the corpus), {} steps, {:.0f} seconds\n", state.bytes,
                      state.data_bytes, state.step, state.seconds);
  if (model_->decoder().trains_on_likelihood())
    card += fmt::format("- bits per byte in training (running average): {:.4f}\n", state.average_bits);
  if (state.best_eval_bits > 0)
    card += fmt::format("- bits per byte on held-out text (best): {:.4f}\n", state.best_eval_bits);
  card +=
      "\nIntended use: research on language models that read and write text as it is written. The model repeats what "
      "its\n"
      "training text says; its text is not checked for truth or harm.\n\n## Settings\n\n```toml\n";
  card += to_toml(*settings_, /*with_comments=*/false);
  return card + "```\n";
}

TrainResult Trainer::run(const TrainHooks& hooks, const ProgramInfo& program) {
  const TrainSettings& train = settings_->train;
  const Corpus corpus = Corpus::open(data_);
  const at::Device device = device_of(train.device);
  const ForwardOptions forward{.compute_type = compute_type_of(train.precision, device),
                               .checkpoint_gradients = train.checkpoint_gradients};
  claim_run_folder();
  CheckpointFolder checkpoints(run_);
  checkpoints.remove_leftovers();
  for (const fs::path& folder : {run_, run_ / "samples", run_ / "tokenizer"}) remove_unfinished_files(folder);
  model_->to(device);
  Optimizer optimizer(*model_, settings_->optim,
                      [this](const std::string& name) { return model_->learning_rate_factor(name); });

  RunState state;
  state.sample_generator = Random(mix_seed(static_cast<uint64_t>(train.seed), 2)).state();
  state.data_bytes = corpus.train().total_bytes();
  for (const std::string& note : notes_) {
    if (hooks.on_message) hooks.on_message(note);
  }
  std::vector<std::string> warnings;
  if (const auto saved = checkpoints.load(*model_, optimizer, warnings)) {
    if (saved->data_bytes != state.data_bytes) {
      throw_input(
          "{}: this run was trained on {} bytes of text, {} now holds {}; give the same --data, or another --out",
          run_.string(), saved->data_bytes, data_.string(), state.data_bytes);
    }
    state = *saved;
    checkpoints.set_aside_after(state.step);
    if (hooks.on_message)
      hooks.on_message(fmt::format("resumed at step {} ({:.0f} s trained)", state.step, state.seconds));
  }
  for (const std::string& warning : warnings) {
    if (hooks.on_warning) hooks.on_warning(warning);
  }
  write_run_files(program);
  const double product_rate = settings_->log.measure_seconds > 0
                                  ? measure_product_rate(forward.compute_type, device, settings_->log.measure_seconds)
                                  : 0;
  StepLog log(run_, state.step, settings_->log, model_->decoder().trains_on_likelihood(), product_rate);

  Random sample_generator = Random::from_state(state.sample_generator);
  BatchSource source(
      corpus.train(), model_->segmenter(),
      {.window_bytes = static_cast<uint64_t>(settings_->data.window_bytes),
       .batch_bytes = static_cast<uint64_t>(settings_->data.batch_bytes),
       .seed = static_cast<uint64_t>(train.seed)},
      state.data, static_cast<size_t>(settings_->data.threads), static_cast<size_t>(settings_->data.ahead),
      corpus.kind() == "instruct" ? DocumentKind::kConversations : DocumentKind::kText, reconstruction_of(*settings_));
  optimizer.clear_gradients();

  const auto progress_of = [&] {
    double progress = 0;
    if (train.steps > 0) progress = static_cast<double>(state.step) / static_cast<double>(train.steps);
    if (train.max_seconds > 0) progress = std::max(progress, state.seconds / train.max_seconds);
    if (train.max_flops > 0) progress = std::max(progress, state.flops / train.max_flops);
    return progress;
  };
  const auto stopping = [&] { return hooks.stop != nullptr && hooks.stop->load(); };
  double held_out_now = 0;  // of this very step; 0: not evaluated
  const auto save = [&] {
    if (held_out_now > 0 && (state.best_step == 0 || held_out_now < state.best_step_bits)) {
      state.best_step = state.step;
      state.best_step_bits = held_out_now;
    }
    state.sample_generator = sample_generator.state();
    log.sync();
    checkpoints.save(*model_, optimizer, state, model_card(state));
    checkpoints.prune(settings_->checkpoint.keep, settings_->checkpoint.keep_every, state.best_step);
  };

  TrainResult result;
  int64_t saved_step = state.step;
  int64_t steps_above = 0;
  double seconds_here = 0, waited_here = 0;
  int64_t next_boundary_warning = 0;

  // One optimizer step: batches, forward, backward, norm, update.
  const auto take_step = [&]() -> StepResult {
    const auto started = Clock::now();
    StepResult step;
    StepFigures& figures = step.figures;
    model_->decoder().begin_step(state.step + 1);
    for (int64_t i = 0; i < settings_->optim.accumulation; ++i) {
      const auto waiting = Clock::now();
      const PreparedBatch prepared = source.next();
      figures.data_seconds += seconds_since(waiting);
      if (i == 0) step.taken_from = prepared.taken_from;
      const PositionBatch& batch = prepared.batch;
      double targets = 0;
      for (const int64_t target : batch.targets) targets += target == -1 ? 0 : 1;
      const TrainingLoss loss = model_->training_loss(batch, forward);
      const at::Tensor of_rows = loss.rows_N.sum();
      (loss.levels.defined() ? of_rows + loss.levels * targets : of_rows).backward();
      figures.loss += of_rows.item<double>();
      figures.positions += targets;
      log.add(loss.notes);
      figures.bytes += static_cast<double>(batch.scored_bytes);
      const BackboneCost cost = model_->cost(batch);
      figures.innermost_rows += cost.innermost_rows;
      // Forward and backward: two operations for each multiplication, three passes.
      figures.flops += 6 * cost.multiplications;
      step.next = prepared.next;
    }
    const double scale = 1 / std::max(figures.positions, 1.0);
    figures.norm = optimizer.gradient_norm(scale);
    if (!std::isfinite(figures.loss) || !std::isfinite(figures.norm)) {
      throw std::runtime_error(
          fmt::format("the {} is not a number at step {} (batch at epoch {}, piece {}); stopped, the checkpoint of "
                      "step {} is intact. Try a "
                      "lower optim.learning_rate, a longer optim.warmup, or --train.precision=float32",
                      std::isfinite(figures.loss) ? "gradient" : "loss", state.step + 1, step.taken_from.epoch,
                      step.taken_from.index, saved_step));
    }
    figures.learning_rate = learning_rate(settings_->optim, state.step + 1, progress_of());
    optimizer.step(figures.learning_rate, scale, figures.norm);
    optimizer.clear_gradients();
    figures.seconds = seconds_since(started);
    return step;
  };

  while ((train.steps == 0 || state.step < train.steps) &&
         (train.max_seconds == 0 || state.seconds < train.max_seconds) &&
         (train.max_flops == 0 || state.flops < train.max_flops) && !stopping()) {
    const StepResult step = take_step();
    const double bits = step.figures.bits_per_byte();

    ++state.step;
    held_out_now = 0;
    state.data = step.next;
    state.seconds += step.figures.seconds;
    state.bytes += static_cast<int64_t>(step.figures.bytes);
    state.flops += step.figures.flops;
    state.average_bits = state.step == 1 ? bits : kAverageDecay * state.average_bits + (1 - kAverageDecay) * bits;
    if (state.best_average_bits == 0 || state.average_bits < state.best_average_bits)
      state.best_average_bits = state.average_bits;
    seconds_here += step.figures.seconds;
    waited_here += step.figures.data_seconds;
    log.add(step.figures);

    const bool above = train.explosion_factor > 0 && state.step > settings_->optim.warmup &&
                       bits > train.explosion_factor * state.best_average_bits;
    steps_above = above ? steps_above + 1 : 0;
    if (steps_above >= kExplosionSteps) {
      throw std::runtime_error(
          fmt::format("the loss has been above {:g} times its best average ({:.3f} bits per byte) for {} steps, up to "
                      "step {} (batch at epoch {}, "
                      "piece {}); stopped, the checkpoint of step {} is intact. Try a lower optim.learning_rate",
                      train.explosion_factor, state.best_average_bits, kExplosionSteps, state.step,
                      step.taken_from.epoch, step.taken_from.index, saved_step));
    }

    if (state.step % settings_->log.every == 0 || state.step == 1 || state.step == train.steps) {
      const StepReport report = log.write(state, step.figures, progress_of());
      if (hooks.on_warning && state.step > settings_->optim.warmup && state.step >= next_boundary_warning) {
        for (const std::string& advice : report.boundary_advice) {
          hooks.on_warning(fmt::format("step {}: {}", state.step, advice));
          next_boundary_warning = state.step + kStepsBetweenWarnings;
        }
      }
      if (hooks.on_step) hooks.on_step(report);
    }
    if (hooks.evaluate && train.eval_every > 0 && state.step % train.eval_every == 0) {
      const double held_out = hooks.evaluate(*model_);
      if (held_out > 0 && (state.best_eval_bits == 0 || held_out < state.best_eval_bits))
        state.best_eval_bits = held_out;
      held_out_now = held_out;
      log.write_evaluation(state, held_out);
      if (hooks.on_evaluation) hooks.on_evaluation(state.step, held_out);
    }
    if (hooks.sample && train.sample_every > 0 && state.step % train.sample_every == 0) {
      const std::shared_ptr<LanguageModel> writer = !device.is_cpu() ? cpu_copy(*model_, run_ / "tokenizer") : model_;
      const std::string text = hooks.sample(*writer, sample_generator);
      write_file_atomically(run_ / "samples" / fmt::format("{:010}.txt", state.step), text);
      log.write_sample(state.step, text);
      if (hooks.on_sample) hooks.on_sample(state.step, text);
    }
    if (state.step % kStepsBetweenFlushes == 0) log.flush();
    // Weights of an explosion in progress must not push good ones out.
    if (settings_->checkpoint.every > 0 && state.step % settings_->checkpoint.every == 0 && steps_above == 0) {
      save();
      saved_step = state.step;
    }
  }
  if (saved_step != state.step) save();
  if (hooks.on_message && state.best_step > 0 && state.best_step != state.step) {
    hooks.on_message(fmt::format("held-out text was predicted best at step {} ({:.4f} bits per byte): {}",
                                 state.best_step, state.best_step_bits,
                                 checkpoints.folder_of(state.best_step).string()));
  }
  result.end = stopping() ? TrainEnd::kInterrupted : TrainEnd::kFinished;
  result.steps = state.step;
  result.seconds = state.seconds;
  result.bytes = state.bytes;
  result.average_bits_per_byte = state.average_bits;
  result.data_wait_share = seconds_here > 0 ? waited_here / seconds_here : 0;
  return result;
}

}  // namespace verbatim
