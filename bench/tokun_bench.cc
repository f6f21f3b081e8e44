// Blocks of 16 characters to vectors and back (chain 4x16, weights drawn at random), one thread: looked up, multiplied
// out, and what the products alone would take at the machine's rate, in the same run. The text is a paragraph of
// English again and again, or the first MiB of $VERBATIM_BENCH_TEXT.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <cstdlib>
#include <string>

#include "base/file.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "train/product_rate.h"

namespace verbatim {
namespace {

constexpr size_t kBytes = 1 << 20;

const std::string& text() {
  static const std::string instance = [] {
    const char* path = std::getenv("VERBATIM_BENCH_TEXT");
    std::string bytes = path != nullptr ? read_file(path).substr(0, kBytes) : std::string();
    while (bytes.size() < kBytes && path == nullptr) {
      bytes +=
          "The river had risen during the night, and by the time the first boats came down from the hills "
          "the lower meadows lay under a sheet of grey water. Nobody in the village was surprised.\n";
    }
    return bytes;
  }();
  return instance;
}

struct Autoencoder {
  TokunEncoderSettings settings;
  std::shared_ptr<TokunEncoder> encoder;
  std::shared_ptr<WholeBlockDecoder> decoder;
  Autoencoder() {
    at::Generator generator = at::detail::createCPUGenerator(1);
    encoder = std::make_shared<TokunEncoder>(settings, 0, generator);
    decoder = std::make_shared<WholeBlockDecoder>(settings, 0, generator);
    encoder->eval();
    decoder->eval();
  }
};

Autoencoder& autoencoder() {
  static Autoencoder instance;
  return instance;
}

PositionBatch batch_of_text() {
  const Segmenter& segmenter = autoencoder().encoder->segmenter();
  const Positions positions = segmenter.segment(text(), DocumentPart::kStart);
  PositionBatch batch;
  append_positions(batch, segmenter, positions, text(),
                   {.end = positions.size(), .start_row = false, .end_target = false});
  return batch;
}

// Bytes of text for each second if the products took all the time.
void add_limit(benchmark::State& state, double multiplications, int64_t blocks) {
  static const double rate = measure_product_rate(at::kBFloat16, at::Device(at::kCPU), 1);
  const double seconds = 2 * multiplications * static_cast<double>(blocks) / rate;
  state.counters["limit_of_products"] = benchmark::Counter(static_cast<double>(text().size()) / seconds);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text().size()));
}

void encode(benchmark::State& state, bool looks_up) {
  at::set_num_threads(1);
  torch::NoGradGuard no_grad;
  Autoencoder& model = autoencoder();
  model.encoder->train(!looks_up);  // without noise in the settings training computes the same, by products
  int64_t blocks = 0;
  for (auto _ : state) {
    const PositionBatch batch = batch_of_text();
    blocks = batch.rows();
    benchmark::DoNotOptimize(model.encoder->encode(batch, at::kBFloat16).vectors_ND.data_ptr());
  }
  model.encoder->eval();
  add_limit(state, model.encoder->network().multiplications(), blocks);
}

void cut_into_blocks(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(batch_of_text().rows());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text().size()));
}

void decode(benchmark::State& state) {
  at::set_num_threads(1);
  torch::NoGradGuard no_grad;
  Autoencoder& model = autoencoder();
  const at::Tensor vectors = model.encoder->encode(batch_of_text(), at::kBFloat16).vectors_ND;
  for (auto _ : state) benchmark::DoNotOptimize(model.decoder->reconstruct(vectors, at::kBFloat16).data_ptr());
  add_limit(state, model.decoder->network().multiplications(), vectors.size(0));
}

BENCHMARK(cut_into_blocks);
BENCHMARK_CAPTURE(encode, looked_up, true);
BENCHMARK_CAPTURE(encode, multiplied, false);
BENCHMARK(decode);

}  // namespace
}  // namespace verbatim
