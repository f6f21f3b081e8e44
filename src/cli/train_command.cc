#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <numbers>
#include <sstream>

#include "base/file.h"
#include "base/random.h"
#include "base/text_format.h"
#include "cli/interruption.h"
#include "cli/logging.h"
#include "cli/marked_text.h"
#include "cli/progress.h"
#include "cli/tensor_options.h"
#include "cli/version.h"
#include "corpus/corpus.h"
#include "evaluate/likelihood.h"
#include "evaluate/position_report.h"
#include "evaluate/reconstruction.h"
#include "generate/chat.h"
#include "generate/generate.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "settings/settings_reference.h"
#include "settings/settings_tree.h"
#include "text/utf8.h"
#include "train/batch_source.h"
#include "train/trainer.h"

namespace verbatim {
namespace {

// As typed, for environment.json.
std::string command_line() {
  std::string words;
  try {
    words = read_file("/proc/self/cmdline", 1 << 20);
  } catch (const std::exception&) {
    return "";
  }
  for (char& c : words) {
    if (c == '\0') c = ' ';
  }
  while (!words.empty() && words.back() == ' ') words.pop_back();
  return words;
}

// A settings file; or a model to go on with, whose settings are the beginning and whose weights train.from.
std::shared_ptr<RunSettings> read_settings(const TrainFlags& flags) {
  const bool is_model = std::filesystem::is_directory(flags.config) || names_best_checkpoint(flags.config);
  SettingsTree tree = is_model ? SettingsTree::from_json(to_json(*load_model_settings(flags.config)),
                                                         (flags.config / "config.json").string())
                               : SettingsTree::from_toml_file(flags.config);
  for (const std::string& assignment : flags.overrides) tree.override_with(assignment);
  auto settings = std::make_shared<RunSettings>();
  tree.apply_to(*settings);
  if (is_model && settings->train.from.empty()) settings->train.from = flags.config.string();
  return settings;
}

// Whether a model disturbs what it reads, as it does in training; put back at the end.
class WithoutDisturbance {
 public:
  explicit WithoutDisturbance(LanguageModel& model) : model_(model), was_training_(model.is_training()) {
    model.eval();
  }
  ~WithoutDisturbance() { model_.train(was_training_); }
  WithoutDisturbance(const WithoutDisturbance&) = delete;
  WithoutDisturbance& operator=(const WithoutDisturbance&) = delete;

 private:
  LanguageModel& model_;
  bool was_training_;
};

// Held-out bits per byte during training: the beginning of the validation part, with the training window.
double evaluate_part(LanguageModel& model, const RunSettings& settings, const DocumentSource& valid) {
  const WithoutDisturbance guard(model);
  const bool fast = compute_type_of(settings.train.precision, device_of(settings.train.device)) == at::kBFloat16;
  if (model.is_autoencoder()) {
    const ReconstructionReport report = measure_reconstruction(
        model, valid,
        {.max_bytes = settings.train.eval_bytes, .precision = fast ? Precision::kBfloat16 : Precision::kFloat32});
    spdlog::info("held-out text comes back: {:.4f} % of characters, {:.4f} % of blocks",
                 100 * report.all.character.value(), 100 * report.all.block.value());
    return report.nats / std::numbers::ln2 / static_cast<double>(report.bytes);
  }
  return evaluate_likelihood(model, valid,
                             {.window_bytes = settings.data.window_bytes,
                              .stride_bytes = std::max<int64_t>(settings.data.window_bytes / 2, 1),
                              .max_bytes = settings.train.eval_bytes,
                              .precision = fast ? Precision::kBfloat16 : Precision::kFloat32})
      .bits_per_byte;
}

// Where a model with levels puts its patches, in the beginning of the held-out text; empty for others.
std::string show_patches(LanguageModel& model, const RunSettings& settings, const DocumentSource& valid) {
  constexpr size_t kMostBytes = 512;
  if (count_levels(model.backbone()) == 0 || valid.document_count() == 0) return "";
  std::string_view text = valid.document(0);
  if (text.size() > kMostBytes) text = text.substr(0, utf8_boundary_before(text, kMostBytes));
  const PositionNats scored = score_positions(model, text, {.window_bytes = settings.data.window_bytes});
  const std::vector<std::vector<uint64_t>> ends =
      patch_ends(report_boundaries(model, text, scored.positions, &scored), scored.positions, text);
  return "\n\n--- patches of held-out text ---\n" + marked_text(ends, text, /*has_colors=*/false) + "\n" +
         nesting_legend(ends, text.size(), /*has_colors=*/false);
}

std::string write_sample(LanguageModel& model, const RunSettings& settings, Random& random) {
  GenerateOptions options{.max_bytes = settings.train.sample_bytes, .context_bytes = settings.data.window_bytes};
  options.sampling.seed = random();
  return settings.train.sample_prompt + generate(model, {settings.train.sample_prompt}, options).texts.front().text;
}

// What --dry-run says besides the settings. Looks at the first batch, so that positions count as the text has them.
void report_dry_run(const LanguageModel& model, const RunSettings& settings, const Corpus& corpus,
                    CommandContext& context) {
  BatchSource source(corpus.train(), model.segmenter(),
                     {.window_bytes = static_cast<uint64_t>(settings.data.window_bytes),
                      .batch_bytes = static_cast<uint64_t>(settings.data.batch_bytes),
                      .seed = static_cast<uint64_t>(settings.train.seed)},
                     {}, /*threads=*/0, /*ahead=*/1,
                     corpus.kind() == "instruct" ? DocumentKind::kConversations : DocumentKind::kText);
  const PositionBatch batch = source.next().batch;
  const BackboneCost cost = model.cost(batch);
  const int64_t parameters = model.parameter_count();
  constexpr int64_t kFloat32Bytes = 4;
  context.output.record(Record()
                            .set("family", settings.model->family)
                            .set("parameters", parameters)
                            .set("parameters_outside_tables", model.parameter_count_without_tables())
                            .set("weight_bytes", parameters * kFloat32Bytes)
                            .set("gradient_bytes", parameters * kFloat32Bytes)
                            .set("moment_bytes", 2 * parameters * kFloat32Bytes)
                            .set("training_state_bytes", 4 * parameters * kFloat32Bytes)
                            .set("not_counted", "activations, see `verbatim inspect`; LibTorch itself")
                            .set("train_bytes", corpus.train().total_bytes())
                            .set("batch_bytes", batch.scored_bytes)
                            .set("batch_sequences", batch.sequences())
                            .set("batch_positions", batch.rows())
                            .set("batch_innermost_positions", cost.innermost_rows)
                            .set("multiplications_per_byte",
                                 3 * cost.multiplications / std::max(static_cast<double>(batch.scored_bytes), 1.0)));
}

std::string step_line(const StepReport& report) {
  const std::string loss = report.is_likelihood ? fmt::format("{:.3f} bits/byte (average {:.3f})", report.bits_per_byte,
                                                              report.average_bits_per_byte)
                                                : fmt::format("loss {:.4f}", report.loss_per_position);
  return fmt::format("step {}  {}  {}  lr {:.1e}  norm {:.2f}  data wait {:.1f} %{}{}", report.step, loss,
                     format_rate(report.bytes_per_second), report.learning_rate, report.gradient_norm,
                     100 * report.data_seconds / std::max(report.step_seconds, 1e-9),
                     report.boundaries.empty() ? "" : "  ", report.boundaries);
}

// Batches are made ahead; a step that waits for them more than this wants more data.threads.
constexpr double kLargestDataWait = 0.01;

void log_data_wait(double share) {
  if (share <= kLargestDataWait) {
    spdlog::info("waited for data {:.2f} % of the training time", 100 * share);
  } else {
    spdlog::warn(
        "waited for data {:.1f} % of the training time; more than {:.0f} % slows training: raise data.threads "
        "or data.ahead",
        100 * share, 100 * kLargestDataWait);
  }
}

int run_train(const TrainFlags& flags, CommandContext& context) {
  auto settings = read_settings(flags);
  Trainer trainer(settings, flags.data, flags.out);
  if (flags.dry_run) {
    context.output.text(to_toml(*settings, /*with_comments=*/false) + "\n");
    report_dry_run(trainer.model(), *settings, Corpus::open(flags.data), context);
    return 0;
  }
  const Corpus corpus = Corpus::open(flags.data);
  if (corpus.chat_template() == name_of(ChatTemplate::kTFree) &&
      likely_chat_template(trainer.model().segmenter()) != ChatTemplate::kTFree) {
    spdlog::warn(
        "the conversations use the template tfree, whose parts (<|end_header_id|> and kin) this model reads as "
        "ordinary "
        "text; family tfree: set encoder.special_words as configs/tfree-chat.toml does; others: prepare "
        "--chat-template "
        "plain");
  }
  trainer.claim_run_folder();
  add_log_file((flags.out / "train.log").string());
  spdlog::info("{}: {} parameters, {} outside tables; {}", settings->model->family,
               format_count(static_cast<double>(trainer.model().parameter_count())),
               format_count(static_cast<double>(trainer.model().parameter_count_without_tables())),
               compute_type_of(settings->train.precision, device_of(settings->train.device)) == at::kBFloat16
                   ? "bfloat16 activations"
                   : "float32");
  std::unique_ptr<Progress> progress;
  TrainHooks hooks;
  hooks.stop = &interruption_flag();
  hooks.on_message = [](const std::string& message) { spdlog::info("{}", message); };
  hooks.on_warning = [](const std::string& message) { spdlog::warn("{}", message); };
  hooks.on_step = [&](const StepReport& report) {
    // The run ends by steps or by time, whichever comes first: its share is in millionths.
    constexpr int64_t kTotal = 1'000'000;
    const auto done = static_cast<int64_t>(report.progress * static_cast<double>(kTotal));
    if (progress == nullptr) {
      progress = std::make_unique<Progress>(
          ProgressOptions{.label = "train", .total = kTotal, .start = done, .count = ProgressCount::kShare});
    }
    progress->update(std::min(done, kTotal), step_line(report));
  };
  std::shared_ptr<DocumentSource> valid;
  if (corpus.valid().total_bytes() > 0) {
    valid = open_documents(flags.data.string() + ":valid");
    hooks.evaluate = [&, valid](LanguageModel& model) { return evaluate_part(model, *settings, *valid); };
    hooks.on_evaluation = [](int64_t step, double bits) {
      spdlog::info("step {}: {:.4f} bits per byte on held-out text", step, bits);
    };
  }
  // An autoencoder writes nothing of its own.
  if (!trainer.model().is_autoencoder()) {
    hooks.sample = [&, valid](LanguageModel& model, Random& random) {
      const WithoutDisturbance guard(model);
      std::string sample = write_sample(model, *settings, random);
      if (valid != nullptr) sample += show_patches(model, *settings, *valid);
      return sample;
    };
  }
  const TrainResult result = trainer.run(
      hooks, {.version = version(), .commit = commit(), .compiler = compiler(), .command_line = command_line()});
  if (progress) progress->finish();
  if (result.steps > 0) log_data_wait(result.data_wait_share);
  Record record;
  record.set("end", result.end == TrainEnd::kFinished ? "finished" : "interrupted")
      .set("steps", result.steps)
      .set("seconds", result.seconds)
      .set("bytes", result.bytes)
      .set("bytes_per_second", static_cast<double>(result.bytes) / std::max(result.seconds, 1e-9));
  if (trainer.model().decoder().trains_on_likelihood())
    record.set("average_bits_per_byte", result.average_bits_per_byte);
  context.output.record(record.set("data_wait_share", result.data_wait_share).set("model", flags.out.string()));
  if (result.end == TrainEnd::kInterrupted) {
    spdlog::info("saved; the same command continues");
    throw Interrupted();
  }
  return 0;
}

// The settings that exist depend on others.
std::string all_settings() {
  AllSettingsOptions options;
  options.words = {"backbone.boundary=learned", "backbone.boundary=fixed:8"};
  options.meaning = [](std::string_view name) {
    // A backbone inside a level has the settings of any backbone.
    std::string outer(name);
    constexpr std::string_view kInner = ".inner.";
    for (size_t at = outer.find(kInner); at != std::string::npos; at = outer.find(kInner)) {
      outer.erase(at, kInner.size() - 1);
    }
    return outer;
  };
  return describe_all([] { return std::make_unique<RunSettings>(); }, options);
}

}  // namespace

CommandDefinition train_command() { return define_train(run_train, all_settings); }

}  // namespace verbatim
