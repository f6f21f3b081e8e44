// Text to blocks of UTF-32-BE and back, beside the plain definition and beside copying the text; what borders by
// content keep of a text after an insertion, and how full their blocks are. The text is made up (half of it outside
// ASCII), or the first 4 MiB of $VERBATIM_BENCH_TEXT. Bytes are those of the text.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "blocks/blocks.h"
#include "blocks/reconstruction.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr size_t kTextBytes = size_t{4} << 20;

std::string made_up_text() {
  Random random(1);
  std::string text;
  while (text.size() < kTextBytes) {
    const uint64_t script = random.below(4);
    for (uint64_t left = 1 + random.below(9); left > 0; --left) {
      const uint64_t letter = script < 2    ? 'a' + random.below(26)
                              : script == 2 ? 0x430 + random.below(32)     // Cyrillic
                                            : 0x4E00 + random.below(999);  // Han
      append_utf8(text, static_cast<char32_t>(letter));
    }
    text += ' ';
  }
  return text;
}

const std::string& text() {
  static const std::string instance = [] {
    const char* path = std::getenv("VERBATIM_BENCH_TEXT");
    std::string whole = path != nullptr ? read_file(path) : made_up_text();
    whole.resize(utf8_boundary_before(whole, std::min(whole.size(), kTextBytes)));
    return whole;
  }();
  return instance;
}

void report(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text().size()));
}

void copy(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    out = text();
    benchmark::DoNotOptimize(out.data());
  }
  report(state);
}
BENCHMARK(copy);

// The definition: one unit after the other, one byte after the other.
void plain_utf32be(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    out.clear();
    for (const Utf8Unit& unit : Utf8Units(text())) {
      const char32_t value = unit.code_point.valid ? unit.code_point.value : kEscape + unit.code_point.value;
      for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
    }
    benchmark::DoNotOptimize(out.data());
  }
  report(state);
}
BENCHMARK(plain_utf32be);

void utf32be(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    out.clear();
    append_utf32be(text(), out);
    benchmark::DoNotOptimize(out.data());
  }
  report(state);
}
BENCHMARK(utf32be);

void utf32be_to_text(benchmark::State& state) {
  std::string stream;
  append_utf32be(text(), stream);
  std::string out;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(append_text(stream, Escapes::kRestore, out));
  }
  report(state);
}
BENCHMARK(utf32be_to_text);

void encode(benchmark::State& state, const BlockOptions& options) {
  const BlockCoder coder(options);
  Blocks blocks;
  for (auto _ : state) {
    coder.encode(text(), blocks);
    benchmark::DoNotOptimize(blocks.bytes.data());
  }
  report(state);
  state.counters["bytes/block"] = static_cast<double>(text().size()) / static_cast<double>(blocks.size());
}
BENCHMARK_CAPTURE(encode, blocks_4, {.chain = {{4}}});
BENCHMARK_CAPTURE(encode, blocks_4x4x4, {});
BENCHMARK_CAPTURE(encode, blocks_4x4x4_by_content, {.borders = BorderOptions{}});

void decode(benchmark::State& state) {
  const BlockCoder coder({});
  Blocks blocks;
  coder.encode(text(), blocks);
  for (auto _ : state) benchmark::DoNotOptimize(coder.decode(blocks));
  report(state);
}
BENCHMARK(decode);

void reconstruction(benchmark::State& state) {
  Blocks blocks;
  BlockCoder({}).encode(text(), blocks);
  const std::string predicted = blocks.bytes;
  for (auto _ : state) benchmark::DoNotOptimize(measure_reconstruction(blocks, predicted));
  report(state);
}
BENCHMARK(reconstruction);

// Blocks of the first 16 kB that are still there after one letter has come in, and the share of their room that is
// text.
void insertion(benchmark::State& state, const BlockOptions& options) {
  const BlockCoder coder(options);
  const std::string before = text().substr(0, utf8_boundary_before(text(), std::min<size_t>(text().size(), 16000)));
  const auto blocks_of = [&](const std::string& some) {
    Blocks blocks;
    coder.encode(some, blocks);
    std::map<std::string, int> counts;
    for (size_t i = 0; i < blocks.size(); ++i) {
      ++counts[blocks.bytes.substr(i * coder.block_bytes(), blocks.lengths[i])];
    }
    return counts;
  };
  const std::map<std::string, int> counts = blocks_of(before);
  Random random(1);
  double kept = 0, all = 0, used = 0;
  for (auto _ : state) {
    std::string after = before;
    after.insert(utf8_boundary_before(before, random.below(before.size() + 1)), 1, 'x');
    const std::map<std::string, int> other = blocks_of(after);
    for (const auto& [block, count] : counts) {
      const auto found = other.find(block);
      kept += found == other.end() ? 0 : std::min(count, found->second);
      all += count;
      used += static_cast<double>(block.size()) * count;
    }
  }
  state.counters["kept"] = kept / all;
  state.counters["full"] = used / all / coder.block_bytes();
}
BENCHMARK_CAPTURE(insertion, blocks_4x4x4, {})->Iterations(500)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(insertion, blocks_4x4x4_by_content, {.borders = BorderOptions{}})
    ->Iterations(500)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace verbatim
