#include <algorithm>
#include <chrono>

#include "cli/bench.h"
#include "cli/model_argument.h"
#include "nn/torch.h"
#include "train/optimizer.h"
#include "train/product_rate.h"
#include "train/trainer.h"

namespace verbatim {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Median seconds of `work`, repeated for about `seconds`.
template <class Work>
double median_seconds(double seconds, Work work) {
  work();
  std::vector<double> times;
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    work();
    times.push_back(seconds_since(begin));
  } while (seconds_since(start) < seconds || times.size() < 3);
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// Pieces of one window each, as training cuts them; the sentences have words of many lengths.
PositionBatch sample_batch(const Segmenter& segmenter, int64_t batch_bytes, int64_t window_bytes) {
  std::string text;
  for (int64_t i = 0; static_cast<int64_t>(text.size()) < window_bytes; ++i) {
    text += fmt::format("It rained all day {}, and the long road to the sea was empty; ", i);
  }
  text.resize(static_cast<size_t>(window_bytes));
  const std::vector<TextPiece> pieces(static_cast<size_t>(std::max<int64_t>(1, batch_bytes / window_bytes)),
                                      {.bytes = text, .starts_document = true, .ends_document = true});
  return make_batch(segmenter, pieces);
}

}  // namespace

std::vector<BenchFigure> bench_train(const BenchOptions& options) {
  if (options.model.empty()) throw UsageError("expected a model: verbatim bench train CONFIG.toml, or a model folder");
  const ModelArgument argument = open_model_or_config(options.model);
  LanguageModel& model = *argument.model;
  const int64_t window = argument.training_window.value_or(kDefaultWindow);
  const PositionBatch batch = sample_batch(model.segmenter(), argument.training_batch.value_or(16 * window), window);
  Optimizer optimizer(model, OptimSettings());
  const double operations = 6 * model.cost(batch).multiplications;

  std::vector<BenchFigure> figures;
  std::vector<at::ScalarType> types{at::kFloat};
  if (compute_type_of("auto", at::kCPU) == at::kBFloat16) types.push_back(at::kBFloat16);
  for (const at::ScalarType type : types) {
    const std::string name = type == at::kFloat ? "float32" : "bfloat16";
    const double limit = measure_product_rate(type, at::kCPU, options.seconds);
    const double seconds = median_seconds(4 * options.seconds, [&] {
      model.nats(batch, {.compute_type = type}).sum().backward();
      const double norm = optimizer.gradient_norm(1.0 / static_cast<double>(batch.rows()));
      optimizer.step(0, 1.0 / static_cast<double>(batch.rows()), norm);
      optimizer.clear_gradients();
    });
    figures.push_back({.what = "matrix product of 1024 x 1024, " + name, .value = limit / 1e9, .unit = "GFLOP/s"});
    figures.push_back({.what = "training step, " + name,
                       .value = operations / seconds / 1e9,
                       .unit = "GFLOP/s",
                       .reference = "the matrix product",
                       .ratio = operations / seconds / limit});
    figures.push_back(
        {.what = "text, " + name, .value = static_cast<double>(batch.scored_bytes) / seconds / 1e3, .unit = "kB/s"});
  }
  return figures;
}

}  // namespace verbatim
