// Blocks of 16 characters to vectors and back (chain 4x16, weights drawn at random), one thread: looked up, multiplied
// out, and what the products alone would take at the machine's rate, in the same run. The text is a paragraph of
// English again and again, or the first MiB of $VERBATIM_BENCH_TEXT.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "nn/torch.h"
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

enum class Kind {
  kDefault,  // of the settings: with a layer behind the join
  kSmall,    // configs/tokun-small.toml: a vector is a sum of rows
  kRobust,   // configs/tokun-robust.toml: likewise, and a decoder that can correct more
};

struct Autoencoder {
  TokunEncoderSettings settings;
  TokunDecoderSettings decoder_settings;
  std::shared_ptr<TokunEncoder> encoder;
  std::shared_ptr<WholeBlockDecoder> decoder;
  explicit Autoencoder(Kind kind) {
    if (kind != Kind::kDefault) {
      settings.join_layer = false;
      settings.width = 128;
    }
    if (kind == Kind::kRobust) {
      settings.hidden = 384;
      decoder_settings.character_hidden = 384;
      decoder_settings.mixing = 2;
    }
    at::Generator generator = at::detail::createCPUGenerator(1);
    encoder = std::make_shared<TokunEncoder>(settings, 0, generator);
    decoder = std::make_shared<WholeBlockDecoder>(settings, decoder_settings, 0, generator, encoder->shared_network());
    encoder->eval();
    decoder->eval();
  }
};

Autoencoder& autoencoder(Kind kind) {
  static std::map<Kind, Autoencoder> made;
  return made.try_emplace(kind, kind).first->second;
}

// Cuts the text and calls f with batches of 1,024 blocks, as evaluation does.
template <class F>
int64_t for_batches(const Segmenter& segmenter, const F& f) {
  constexpr size_t kBlocks = 1024;
  const Positions positions = segmenter.segment(text(), DocumentPart::kStart);
  for (size_t begin = 0; begin < positions.size(); begin += kBlocks) {
    PositionBatch batch;
    append_positions(batch, segmenter, positions, text(),
                     {.begin = begin,
                      .score_begin = begin,
                      .end = std::min(begin + kBlocks, positions.size()),
                      .start_row = false,
                      .end_target = false});
    f(batch);
  }
  return static_cast<int64_t>(positions.size());
}

// Bytes of text for each second if the products took all the time.
void add_limit(benchmark::State& state, double multiplications, int64_t blocks) {
  static const double rate = measure_product_rate(at::kBFloat16, at::Device(at::kCPU), 1);
  const double seconds = 2 * multiplications * static_cast<double>(blocks) / rate;
  state.counters["limit_of_products"] = benchmark::Counter(static_cast<double>(text().size()) / seconds);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text().size()));
}

void encode(benchmark::State& state, Kind kind, bool looks_up) {
  at::set_num_threads(1);
  torch::NoGradGuard no_grad;
  Autoencoder& model = autoencoder(kind);
  model.encoder->train(!looks_up);  // without noise in the settings training computes the same, by products
  int64_t blocks = 0;
  for (auto _ : state) {
    blocks = for_batches(model.encoder->segmenter(), [&](const PositionBatch& batch) {
      benchmark::DoNotOptimize(model.encoder->encode(batch, at::kBFloat16).vectors_ND.data_ptr());
    });
  }
  model.encoder->eval();
  add_limit(state, model.encoder->network().multiplications(), blocks);
}

void cut_into_blocks(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        for_batches(autoencoder(Kind::kDefault).encoder->segmenter(),
                    [](const PositionBatch& batch) { benchmark::DoNotOptimize(batch.ids.data()); }));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text().size()));
}

void decode(benchmark::State& state, Kind kind, at::ScalarType type) {
  at::set_num_threads(1);
  torch::NoGradGuard no_grad;
  Autoencoder& model = autoencoder(kind);
  std::vector<at::Tensor> parts;
  const int64_t blocks = for_batches(model.encoder->segmenter(), [&](const PositionBatch& batch) {
    parts.push_back(model.encoder->encode(batch, at::kBFloat16).vectors_ND);
  });
  const at::Tensor vectors = at::cat(parts);
  for (auto _ : state) benchmark::DoNotOptimize(model.decoder->reconstruct(vectors, type).data_ptr());
  add_limit(state, model.decoder->network().multiplications(), blocks);
}

BENCHMARK(cut_into_blocks);
BENCHMARK_CAPTURE(encode, small, Kind::kSmall, true);
BENCHMARK_CAPTURE(encode, robust, Kind::kRobust, true);
BENCHMARK_CAPTURE(encode, looked_up, Kind::kDefault, true);
BENCHMARK_CAPTURE(encode, multiplied, Kind::kDefault, false);
BENCHMARK_CAPTURE(decode, small, Kind::kSmall, at::kBFloat16);
BENCHMARK_CAPTURE(decode, robust, Kind::kRobust, at::kBFloat16);
BENCHMARK_CAPTURE(decode, default, Kind::kDefault, at::kBFloat16);
BENCHMARK_CAPTURE(decode, float32, Kind::kDefault, at::kFloat);

}  // namespace
}  // namespace verbatim
