#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <numbers>

#include "base/error.h"
#include "base/machine.h"
#include "base/random.h"
#include "blocks/augmentation.h"
#include "blocks/utf32.h"
#include "cli/interruption.h"
#include "cli/model_argument.h"
#include "cli/progress.h"
#include "cli/tensor_options.h"
#include "corpus/corpus.h"
#include "evaluate/likelihood.h"
#include "evaluate/reconstruction.h"
#include "evaluate/speed.h"
#include "evaluate/vocabulary.h"
#include "families/tokun/tokun_decoder.h"

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

Record record_of(const ReconstructionReport& report, const std::string& part) {
  Record record;
  record.set("suite", "reconstruction").set("part", part);
  record.set("byte", report.all.byte.value()).set("character", report.all.character.value());
  record.set("block", report.all.block.value());
  // What a model that always says 0 would get.
  record.set("zero_byte", report.all.zero_byte.value());
  return record.set("characters", report.all.character.all).set("blocks", report.blocks);
}

// The same decoded with a check: what was decoded is encoded again, and where the vectors differ, searched for.
Record record_of(const CheckedReconstruction& checked, uint64_t bytes, const std::string& part) {
  Record record;
  record.set("suite", "reconstruction").set("part", part + ", checked");
  record.set("byte", checked.all.byte.value()).set("character", checked.all.character.value());
  record.set("block", checked.all.block.value()).set("zero_byte", checked.all.zero_byte.value());
  record.set("characters", checked.all.character.all);
  record.set("confirmed", checked.confirmed.value()).set("confirmed_right", checked.confirmed_right.value());
  record.set("searched", checked.searched);
  return record.set("check_bytes_per_second", static_cast<double>(bytes) / std::max(checked.seconds, 1e-9));
}

// Vectors with noise, decoded with the encoder's help.
Record record_of_settled(const Reconstruction& settled, const std::string& part) {
  Record record;
  record.set("suite", "reconstruction").set("part", part);
  record.set("byte", settled.byte.value()).set("character", settled.character.value());
  record.set("block", settled.block.value()).set("zero_byte", settled.zero_byte.value());
  return record.set("characters", settled.character.all);
}

// A corpus of made-up characters, every code point of the 17 planes but surrogates alike often.
std::vector<std::string> random_texts() {
  constexpr size_t kTexts = 64, kCharacters = 1024;
  Random random(1);
  std::vector<std::string> texts(kTexts);
  for (std::string& text : texts) {
    std::u32string units;
    append_random_units(kCharacters, RandomUnits::kScalarValues, random, units);
    std::string stream;
    append_utf32be(units, stream);
    append_text(stream, Escapes::kRestore, text);
  }
  return texts;
}

// Text as it is, by script, under noise, moved against the borders of blocks, and made-up characters.
void report_reconstruction(LanguageModel& model, const DocumentSource& documents, const LikelihoodOptions& options,
                           CommandContext& context) {
  constexpr size_t kExamples = 8;
  constexpr int64_t kPartBytes = 1 << 19;  // for what needs no large text
  const ReconstructionSettings plain{.max_bytes = options.max_bytes,
                                     .most_examples = kExamples,
                                     .check = true,
                                     .precision = options.precision,
                                     .interrupted = &interruption_flag()};
  const auto measure = [&](const ReconstructionSettings& settings) {
    try {
      return measure_reconstruction(model, documents, settings);
    } catch (const EvaluationStopped&) {
      throw Interrupted();
    }
  };
  const ReconstructionReport whole = measure(plain);
  Record record = record_of(whole, "text");
  record.set("family", model.settings().family).set("parameters", model.parameter_count()).set("bytes", whole.bytes);
  record.set("bits_per_byte", whole.nats / std::numbers::ln2 / static_cast<double>(whole.bytes));
  // As published: padding counts.
  record.set("byte_with_padding", whole.padded_byte.value());
  record.set("character_with_padding", whole.padded_character.value());
  record.set("block_with_padding", whole.padded_block.value());
  record.set("sigma", whole.sigma);
  record.set("encode_bytes_per_second", static_cast<double>(whole.bytes) / std::max(whole.encode_seconds, 1e-9));
  record.set("decode_bytes_per_second", static_cast<double>(whole.bytes) / std::max(whole.decode_seconds, 1e-9));
  context.output.record(record);
  if (whole.checked.has_value()) context.output.record(record_of(*whole.checked, whole.bytes, "text"));
  for (size_t script = 0; script < whole.characters.size(); ++script) {
    const Share& share = whole.characters[script];
    if (share.all == 0) continue;
    Record line;
    line.set("suite", "reconstruction").set("part", fmt::format("script {}", name_of(static_cast<Script>(script))));
    context.output.record(line.set("character", share.value()).set("characters", share.all));
  }
  for (const ReconstructionReport::Example& example : whole.wrong) {
    Record line;
    line.set("suite", "reconstruction").set("part", "error").set("text", example.text);
    context.output.record(line.set("came_back", example.came_back));
  }
  context.output.flush();
  ReconstructionSettings part = plain;
  part.most_examples = 0;
  part.max_bytes = options.max_bytes > 0 ? std::min(options.max_bytes, kPartBytes) : kPartBytes;
  for (const double noise : {0.1, 0.2, 0.5, 1.0}) {
    part.noise = noise;
    const ReconstructionReport noisy = measure(part);
    const std::string what = fmt::format("noise of {:g} sigma", noise);
    context.output.record(record_of(noisy, what));
    if (noisy.settled.has_value()) context.output.record(record_of_settled(*noisy.settled, what + ", settled"));
    if (noisy.settled_in_text.has_value()) {
      context.output.record(record_of_settled(*noisy.settled_in_text, what + ", settled in the text"));
    }
    context.output.flush();
  }
  part.noise = 0;
  part.check = false;
  part.max_bytes /= 4;
  const auto characters = static_cast<uint32_t>(dynamic_cast<TokunDecoder&>(model.decoder()).block_bytes() / 4);
  for (uint32_t shift = 0; shift < characters; shift += std::max<uint32_t>(characters / 16, 1)) {
    part.shift = shift;
    context.output.record(record_of(measure(part), fmt::format("shift of {}", shift)));
  }
  context.output.flush();
  constexpr size_t kInsertionBytes = 1 << 14;
  constexpr int64_t kInsertions = 100;
  const std::string beginning = sample_text(documents, kInsertionBytes);
  Record insertion;
  insertion.set("suite", "reconstruction").set("part", fmt::format("a letter put into {} bytes", beginning.size()));
  context.output.record(
      insertion.set("blocks_kept", blocks_kept_after_insertion(model, beginning, kInsertions, /*seed=*/1)));
  const std::vector<std::string> texts = random_texts();
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  part.shift = 0;
  part.max_bytes = 0;
  part.check = true;
  const ReconstructionReport made_up = measure_reconstruction(model, views, part);
  const std::string planes = "random code points, planes 0 to 16";
  context.output.record(record_of(made_up, planes));
  if (made_up.checked.has_value()) context.output.record(record_of(*made_up.checked, made_up.bytes, planes));
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
  const std::string usual = model.is_autoencoder() ? "reconstruction" : "likelihood";
  const std::vector<std::string> suites = flags.suites.empty() ? std::vector<std::string>{usual} : flags.suites;
  for (const std::string& suite : suites) {
    if (suite == "likelihood") {
      context.output.record(record_of(run_likelihood(model, *documents, options), *documents, flags));
    } else if (suite == "reconstruction") {
      report_reconstruction(model, *documents, options, context);
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
