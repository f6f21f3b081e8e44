#include <fmt/format.h>

#include <memory>

#include "cli/bench.h"

namespace verbatim {
namespace {

struct BenchCommandOptions {
  std::string name;
  BenchOptions bench;
};

void print(const Bench& bench, const BenchOptions& options, Output& output) {
  for (const BenchFigure& figure : bench.run(options)) {
    Record record;
    record.set("bench", bench.name).set("what", figure.what).set("value", figure.value).set("unit", figure.unit);
    std::string comparison;
    if (!figure.reference.empty()) {
      record.set("reference", figure.reference).set("ratio", figure.ratio);
      comparison = fmt::format("   {:.2f} x {}", figure.ratio, figure.reference);
    }
    output.json(record);
    output.text(
        fmt::format("{:<12} {:<36} {:>10.4g} {}{}\n", bench.name, figure.what, figure.value, figure.unit, comparison));
    output.flush();
  }
}

int run_bench(const BenchCommandOptions& options, CommandContext& context) {
  if (options.name.empty()) {
    for (const Bench& bench : benches()) {
      context.output.json(Record().set("bench", bench.name).set("summary", bench.summary));
      context.output.text(fmt::format("{:<12} {}\n", bench.name, bench.summary));
    }
    return 0;
  }
  for (const Bench& bench : benches()) {
    if (options.name == "all" && bench.needs_model && options.bench.model.empty()) continue;
    if (options.name == "all" || options.name == bench.name) print(bench, options.bench, context.output);
  }
  return 0;
}

}  // namespace

CommandDefinition bench_command() {
  auto options = std::make_shared<BenchCommandOptions>();
  CommandDefinition command{
      .name = "bench",
      .usage = "[NAME [FILE]]",
      .examples = {{"verbatim bench", "names of the benches"},
                   {"verbatim bench machine", "what this machine can do at most"},
                   {"verbatim bench generate run/", "how far a model is from the limit"},
                   {"verbatim bench draft run/ --draft-text letters.txt", "what guessing bytes saves"},
                   {"verbatim bench encode text.txt --tokenizer mistral.model", "text to ids"},
                   {"verbatim bench all --json", "everything, for a table"}}};
  std::vector<std::string> names = {"all"};
  for (const Bench& bench : benches()) names.emplace_back(bench.name);
  command.options.positional("NAME", options->name, {.help = "which bench; none lists them", .choices = names});
  command.options.positional(
      "FILE", options->bench.model,
      {.help = "what is measured: a model, run or settings file; for encode a text", .completes = Completes::kFile});
  command.options.option("--tokenizer", options->bench.tokenizer,
                         {.help = "SentencePiece model that encode is compared with", .completes = Completes::kFile});
  command.options.option(
      "--draft", options->bench.draft,
      {.help = "what guesses the next bytes for draft: ngram, or a model", .completes = Completes::kFile});
  command.options.option("--draft-text", options->bench.draft_text,
                         {.help = "text that the draft ngram learns from beforehand", .completes = Completes::kFile});
  command.options.option("--seconds", options->bench.seconds,
                         {.help = "how long to measure each figure", .unit = "seconds", .minimum = 0, .maximum = 3600});
  command.run = [options](CommandContext& context) { return run_bench(*options, context); };
  return command;
}

}  // namespace verbatim
