#include "evaluate/speed.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "generate/sampler.h"
#include "model/boundaries.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Share of the rows at which each backbone works, outermost first: 1, then patches over rows, and so on.
std::vector<double> row_shares(LanguageModel& model, std::string_view text) {
  const Positions positions = model.segmenter().segment(text, DocumentPart::kStart);
  PositionBatch batch;
  append_positions(batch, model.segmenter(), positions, text, {.end = positions.size()});
  Rows rows = Rows::of(batch);
  const auto total = static_cast<double>(rows.count());
  std::vector<double> shares{1.0};
  const Backbone* backbone = &model.backbone();
  for (; backbone->inner() != nullptr; backbone = backbone->inner()) {
    rows = backbone->inner_rows(rows);
    shares.push_back(static_cast<double>(rows.count()) / total);
  }
  return shares;
}

// Which backbone a parameter works for: 0 the outermost. What turns rows into patches and back is read once a patch.
size_t depth_of(std::string_view parameter) {
  constexpr std::string_view kBackbone = "backbone.", kInner = "inner.";
  if (!parameter.starts_with(kBackbone)) return 0;
  parameter.remove_prefix(kBackbone.size());
  size_t depth = 0;
  while (parameter.starts_with(kInner)) {
    parameter.remove_prefix(kInner.size());
    ++depth;
  }
  const bool once_a_patch = parameter.starts_with("pool") || parameter.starts_with("seed.") ||
                            parameter.starts_with("down.") || parameter.starts_with("up.") ||
                            parameter.starts_with("up_cross.key");
  return depth + (once_a_patch ? 1 : 0);
}

// Only single rows of the encoder's tables are read, unless the decoder shares them.
bool is_table(LanguageModel& model, const std::string& parameter, const at::Tensor& value) {
  if (!parameter.starts_with("encoder.")) return false;
  return !(value.is_same(model.encoder().table()) && model.decoder().parameters().empty());
}

// Reads all values, in eight streams: one alone waits for memory, whose latency a processor hides only behind others.
float sum_in_streams(const float* values, int64_t count) {
  constexpr int64_t kStreams = 8;
  const int64_t length = count / kStreams;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < length; ++i) {
    float at_once = 0;
    for (int64_t stream = 0; stream < kStreams; ++stream) at_once += values[stream * length + i];
    sum += at_once;
  }
  for (int64_t i = kStreams * length; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace

double weight_bytes_per_position(LanguageModel& model, std::string_view text) {
  const std::vector<double> shares = row_shares(model, text);
  double bytes = 0;
  for (const auto& parameter : model.named_parameters()) {
    if (is_table(model, parameter.key(), parameter.value())) continue;
    const size_t depth = std::min(depth_of(parameter.key()), shares.size() - 1);
    bytes += shares[depth] * static_cast<double>(parameter.value().numel() * parameter.value().element_size());
  }
  return bytes;
}

double measure_read_rate(uint64_t bytes, double seconds) {
  const auto count = static_cast<int64_t>(std::max<uint64_t>(bytes / sizeof(float), 1024));
  const std::vector<float> buffer(static_cast<size_t>(count), 1.0F);
  std::vector<float> sums(static_cast<size_t>(at::get_num_threads()) * 16);
  double best = 0;
  const auto start = Clock::now();
  do {
    // Small buffers are read many times in one pass, so that starting threads does not count.
    const int64_t repeats = std::max<int64_t>((int64_t{1} << 24) / count, 1);
    const auto pass = Clock::now();
    at::parallel_for(0, count, (count + at::get_num_threads() - 1) / at::get_num_threads(),
                     [&](int64_t begin, int64_t end) {
                       float total = 0;
                       for (int64_t r = 0; r < repeats; ++r) {
                         total += sum_in_streams(buffer.data() + begin, end - begin);
                         // Keeps the compiler from reading once and multiplying.
                         asm volatile("" : "+x"(total) : : "memory");
                       }
                       sums[static_cast<size_t>(at::get_thread_num()) * 16] = total;
                     });
    best =
        std::max(best, static_cast<double>(count) * sizeof(float) * static_cast<double>(repeats) / seconds_since(pass));
  } while (seconds_since(start) < seconds);
  return best;
}

GenerationSpeed measure_generation(LanguageModel& model, std::string_view text, double seconds) {
  constexpr size_t kLeastText = 64;
  if (text.size() < kLeastText) {
    throw_input("the text to measure generation on has {} bytes, must have {} or more", text.size(), kLeastText);
  }
  torch::NoGradGuard no_grad;
  const std::string_view prompt = text.substr(0, text.size() / 2), rest = text.substr(text.size() / 2);
  StreamState after_prompt = model.start();
  model.read(after_prompt, prompt);
  const Positions positions = model.segmenter().segment(rest, DocumentPart::kLater);
  const auto ids_of = [&](size_t i) -> std::vector<int32_t> {
    if (positions.id_offsets.empty()) return {positions.ids[i]};
    return {positions.ids.begin() + positions.id_offsets[i], positions.ids.begin() + positions.id_offsets[i + 1]};
  };

  GenerationSpeed speed;
  Sampler sampler({.seed = 1});
  {
    StreamState state = after_prompt;  // a first round, not measured: caches of the machine are warm after it
    for (size_t i = 0; i < std::min<size_t>(positions.size(), 8); ++i) {
      (void)model.choose(state, sampler);
      model.read_position(state, ids_of(i));
    }
  }
  const auto start = Clock::now();
  do {
    StreamState state = after_prompt;
    for (size_t i = 0; i < positions.size() && (i % 64 != 0 || seconds_since(start) < 4 * seconds || speed.bytes == 0);
         ++i) {
      (void)model.choose(state, sampler);
      model.read_position(state, ids_of(i));
      speed.bytes += positions.ends[i] - positions.begin(i);
    }
  } while (seconds_since(start) < seconds / 2);
  speed.bytes_per_second = static_cast<double>(speed.bytes) / seconds_since(start);

  // Without caches: a full pass over the text for each of a few positions spread over the second half.
  const Positions whole = model.segmenter().segment(text, DocumentPart::kStart);
  const size_t first = whole.size() - positions.size() < whole.size() ? whole.size() / 2 : 0;
  const double bytes_per_position = static_cast<double>(rest.size()) / static_cast<double>(positions.size());
  size_t steps = 0;
  const auto full_start = Clock::now();
  constexpr size_t kSpread = 8;
  while (steps < kSpread || (seconds_since(full_start) < seconds / 4 && steps % kSpread != 0)) {
    const size_t end = first + (whole.size() - first) * (steps % kSpread) / kSpread;
    PositionBatch batch;
    append_positions(batch, model.segmenter(), whole, text, {.end = end, .end_target = false});
    const at::Tensor h_ND = model.forward(batch, {});
    const at::Tensor last_D = h_ND[h_ND.size(0) - 1].to(at::kFloat).contiguous();
    (void)model.decoder().choose({last_D.data_ptr<float>(), static_cast<size_t>(last_D.numel())}, {}, sampler);
    ++steps;
    if (seconds_since(full_start) > 4 * seconds) break;
  }
  speed.without_caches = static_cast<double>(steps) * bytes_per_position / seconds_since(full_start);

  for (const auto& parameter : model.named_parameters()) {
    if (is_table(model, parameter.key(), parameter.value())) continue;
    speed.weights_bytes += static_cast<double>(parameter.value().numel() * parameter.value().element_size());
  }
  speed.weight_bytes_per_byte = weight_bytes_per_position(model, text) / bytes_per_position;
  speed.read_bytes_per_second = measure_read_rate(static_cast<uint64_t>(speed.weights_bytes), seconds / 4);
  return speed;
}

}  // namespace verbatim
