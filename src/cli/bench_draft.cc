#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "cli/bench.h"
#include "cli/draft_argument.h"
#include "cli/model_argument.h"
#include "generate/generate.h"

namespace verbatim {

namespace {

constexpr int64_t kTextBytes = 512;
constexpr size_t kFewestTexts = 3;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds for one pass over `rows` rows behind a text of ordinary length, the median of several.
double pass_seconds(LanguageModel& model, int64_t rows) {
  StreamState state = model.start();
  model.read(state, std::string(kTextBytes / 2, 'e'));
  const std::vector<int32_t> ids(static_cast<size_t>(rows), 'e');
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 15; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    (void)model.read_each(state, ids);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return median(std::move(seconds));
}

}  // namespace

std::vector<BenchFigure> bench_draft(const BenchOptions& options) {
  if (options.model.empty()) throw UsageError("expected a model or settings: verbatim bench draft MODEL|CONFIG.toml");
  // Weights drawn at random write nothing that a draft could guess, but show what rows cost in a model of that size.
  const ModelArgument argument = open_model_or_config(options.model);
  LanguageModel& model = *argument.model;
  std::vector<double> plain_rate, draft_rate, ratio, bytes_per_pass, kept_share;
  const auto start = std::chrono::steady_clock::now();
  const auto is_time_left = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 4 * options.seconds;
  };
  for (uint64_t seed = 1; seed <= kFewestTexts || is_time_left(); ++seed) {
    GenerateOptions generation{.max_bytes = kTextBytes, .context_bytes = argument.training_window.value_or(0)};
    generation.sampling.seed = seed;
    const GenerateResult plain = generate(model, {"The "}, generation);
    const std::unique_ptr<Draft> draft = open_draft(options.draft, options.draft_text);
    generation.draft = draft.get();
    const GenerateResult drafted = generate(model, {"The "}, generation);
    VERBATIM_ASSERT(drafted.texts.front().text == plain.texts.front().text, "the draft changed the text of seed {}",
                    seed);
    if (plain.bytes == 0) continue;
    plain_rate.push_back(plain.bytes_per_second());
    draft_rate.push_back(drafted.bytes_per_second());
    ratio.push_back(drafted.bytes_per_second() / plain.bytes_per_second());
    bytes_per_pass.push_back(static_cast<double>(drafted.bytes) /
                             static_cast<double>(std::max<int64_t>(drafted.passes, 1)));
    kept_share.push_back(static_cast<double>(drafted.kept) /
                         static_cast<double>(std::max<int64_t>(drafted.guessed, 1)));
  }
  if (ratio.empty()) throw_input("{}: the model ends every text at once; nothing to measure", options.model.string());
  const double one_row = pass_seconds(model, 1);
  std::vector<BenchFigure> figures = {
      {.what = "plain generation", .value = median(plain_rate), .unit = "bytes/s"},
      {.what = "with the draft " + options.draft + ", same text",
       .value = median(draft_rate),
       .unit = "bytes/s",
       .reference = "plain generation",
       .ratio = median(ratio)},
      {.what = "bytes for each pass over the weights", .value = median(bytes_per_pass), .unit = "bytes"},
      {.what = "guessed bytes that were kept", .value = 100 * median(kept_share), .unit = "%"},
      {.what = "a pass over one row", .value = 1e6 * one_row, .unit = "us"},
  };
  for (const int64_t rows : {2, 4, 7}) {
    const double seconds = pass_seconds(model, rows);
    figures.push_back({.what = "a pass over " + std::to_string(rows) + " rows",
                       .value = 1e6 * seconds,
                       .unit = "us",
                       .reference = "one row",
                       .ratio = seconds / one_row});
  }
  return figures;
}

}  // namespace verbatim
