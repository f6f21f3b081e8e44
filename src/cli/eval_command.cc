#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <numbers>

#include "base/error.h"
#include "base/machine.h"
#include "cli/interruption.h"
#include "cli/model_argument.h"
#include "cli/progress.h"
#include "cli/tensor_options.h"
#include "corpus/corpus.h"
#include "evaluate/likelihood.h"
#include "evaluate/speed.h"
#include "evaluate/vocabulary.h"

namespace verbatim {
namespace {

Record record_of(const LikelihoodResult& result, const DocumentSource& documents, const EvalFlags& flags) {
  Record record;
  record.set("family", result.family).set("suite", "likelihood").set("likelihood", name_of(result.likelihood));
  record.set("bits_per_byte", result.bits_per_byte).set("bytes", result.bytes).set("documents", result.documents);
  record.set("positions", result.positions).set("bytes_per_position", result.bytes_per_position);
  record.set("parameters", result.parameters).set("seconds", result.seconds);
  record.set("bytes_per_second", result.bytes_per_second).set("peak_memory_bytes", result.peak_memory_bytes);
  record.set("nats_total", result.nats_total).set("nats_of_document_ends", result.nats_ends);
  // For comparison with figures of others, who rarely count the ends.
  record.set("bits_per_byte_without_ends",
             (result.nats_total - result.nats_ends) / std::numbers::ln2 / static_cast<double>(result.bytes));
  record.set("window_bytes", result.window_bytes);
  record.set("stride_bytes", result.stride_bytes).set("precision", flags.precision).set("data", documents.name());
  return record;
}

LikelihoodResult run_likelihood(LanguageModel& model, const DocumentSource& documents,
                                const LikelihoodOptions& options) {
  LikelihoodOptions watched = options;
  const uint64_t total = options.max_bytes > 0
                             ? std::min(documents.total_bytes(), static_cast<uint64_t>(options.max_bytes))
                             : documents.total_bytes();
  Progress progress({.label = "eval", .total = static_cast<int64_t>(total)});
  watched.on_progress = [&](uint64_t done, double bits) {
    progress.update(static_cast<int64_t>(done), fmt::format("bits per byte {:.4f}", bits));
  };
  watched.interrupted = &interruption_flag();
  try {
    LikelihoodResult result = evaluate_likelihood(model, documents, watched);
    progress.finish(fmt::format("bits per byte {:.4f}", result.bits_per_byte));
    return result;
  } catch (const EvaluationStopped&) {
    throw Interrupted();
  }
}

// Generation is measured on a stretch of real text, so that positions and patches come as they do in such text.
std::string sample_text(const DocumentSource& documents, size_t bytes) {
  std::string text;
  for (uint64_t d = 0; d < documents.document_count() && text.size() < bytes; ++d) {
    text += documents.document(d).substr(0, bytes - text.size());
  }
  return text;
}

Record run_speed(LanguageModel& model, const DocumentSource& documents, LikelihoodOptions options) {
  constexpr int64_t kEvaluatedBytes = 1 << 20;
  options.max_bytes = options.max_bytes > 0 ? options.max_bytes : kEvaluatedBytes;
  const LikelihoodResult evaluation = run_likelihood(model, documents, options);
  model.to(at::kCPU);
  const GenerationSpeed speed =
      measure_generation(model, sample_text(documents, static_cast<size_t>(options.window_bytes)), /*seconds=*/2);
  Record record;
  record.set("family", evaluation.family).set("suite", "speed").set("likelihood", name_of(evaluation.likelihood));
  record.set("bits_per_byte", evaluation.bits_per_byte).set("bytes", evaluation.bytes);
  record.set("documents", evaluation.documents).set("positions", evaluation.positions);
  record.set("bytes_per_position", evaluation.bytes_per_position).set("parameters", evaluation.parameters);
  record.set("seconds", evaluation.seconds).set("bytes_per_second", evaluation.bytes_per_second);
  record.set("generation_bytes_per_second", speed.bytes_per_second);
  record.set("generation_times_memory_limit", speed.times_limit());
  record.set("generation_speedup_of_caches", speed.speedup_of_caches());
  record.set("threads", at::get_num_threads()).set("data", documents.name());
  record.set("peak_memory_bytes", peak_memory_bytes());
  return record;
}

Record record_of(const Fertility& count, std::string_view family, std::string_view script) {
  Record record;
  record.set("suite", "fertility").set("family", family).set("script", script).set("words", count.words);
  record.set("positions", count.positions).set("bytes", count.bytes).set("characters", count.characters);
  record.set("positions_per_word", count.per_word()).set("positions_per_character", count.per_character());
  return record.set("bytes_per_position", count.bytes_per_position());
}

// Scripts with few words say nothing about a tokenizer.
constexpr double kLeastShareOfWords = 0.001;

void report_fertility(const SegmenterArgument& argument, const DocumentSource& documents, CommandContext& context) {
  const FertilityReport report = measure_fertility(*argument.segmenter, documents);
  context.output.record(record_of(report.total, argument.family, "all"));
  for (size_t i = 0; i < report.scripts.size(); ++i) {
    const Fertility& count = report.scripts[i];
    if (static_cast<double>(count.words) < kLeastShareOfWords * static_cast<double>(report.total.words) ||
        count.words == 0) {
      continue;
    }
    context.output.record(record_of(count, argument.family, name_of(static_cast<Script>(i))));
  }
}

void report_duplicates(const SegmenterArgument& argument, CommandContext& context) {
  const DuplicateReport report = measure_duplicates(argument.segmenter->vocabulary());
  Record record;
  record.set("suite", "duplicates").set("family", argument.family).set("entries", report.entries);
  record.set("duplicate_percent", 100 * report.total).set("capital_percent", 100 * report.capital);
  context.output.record(record.set("blank_percent", 100 * report.blank).set("digits_percent", 100 * report.digits));
}

bool needs_weights(const std::string& suite) { return suite != "fertility" && suite != "duplicates"; }

// Suites about the cutting of text alone: any tokenizer file or configuration will do.
int run_without_weights(const EvalFlags& flags, CommandContext& context) {
  const SegmenterArgument argument = open_segmenter(flags.model);
  for (const std::string& suite : flags.suites) {
    if (suite == "duplicates") {
      report_duplicates(argument, context);
      continue;
    }
    if (flags.data.empty()) throw_input("suite fertility needs text: give --data PATH");
    report_fertility(argument, *open_documents(flags.data), context);
  }
  return 0;
}

int run_eval(const EvalFlags& flags, CommandContext& context) {
  if (!flags.suites.empty() && std::none_of(flags.suites.begin(), flags.suites.end(), needs_weights)) {
    return run_without_weights(flags, context);
  }
  if (flags.data.empty()) throw_input("--data is missing: give a prepared folder, a text file or a folder of texts");
  const ModelArgument argument = open_model(flags.model);
  LanguageModel& model = *argument.model;
  const std::unique_ptr<DocumentSource> documents = open_documents(flags.data);
  LikelihoodOptions options;
  options.window_bytes = flags.window_bytes.value_or(argument.training_window.value_or(kDefaultWindow));
  options.stride_bytes = flags.stride_bytes;
  options.batch_bytes =
      flags.batch_bytes.value_or(std::max(argument.training_batch.value_or(options.batch_bytes), options.window_bytes));
  options.max_bytes = flags.max_bytes;
  options.precision = flags.precision == "bfloat16" ? Precision::kBfloat16 : Precision::kFloat32;
  move_to_device(model, flags.device);
  const std::vector<std::string> suites = flags.suites.empty() ? std::vector<std::string>{"likelihood"} : flags.suites;
  for (const std::string& suite : suites) {
    if (suite == "likelihood") {
      context.output.record(record_of(run_likelihood(model, *documents, options), *documents, flags));
    } else if (suite == "speed") {
      context.output.record(run_speed(model, *documents, options));
    } else {
      EvalFlags one = flags;
      one.suites = {suite};
      run_without_weights(one, context);
    }
    context.output.flush();
  }
  return 0;
}

}  // namespace

CommandDefinition eval_command() { return define_eval(run_eval); }

}  // namespace verbatim
