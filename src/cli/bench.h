#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace verbatim {

// One figure of a bench: what was measured and what it is compared with in the same run.
struct BenchFigure {
  std::string what;  // "matrix product 1024"
  double value = 0;
  std::string unit;            // "GFLOP/s", "MB/s"
  std::string reference = {};  // "copying memory"; empty when the figure is itself a reference
  double ratio = 0;            // value / reference value
};

struct BenchOptions {
  double seconds = 1;  // per figure, about
  // Of the benches that measure one: model folder, run folder or settings file; of `encode`, a text.
  std::filesystem::path model;
  std::filesystem::path tokenizer;  // of `encode`: a SentencePiece model
  std::string draft = "ngram";      // of `draft`: as in generate
  std::string draft_text = {};
};

// `verbatim bench NAME`: a row of the table in bench_table.cc. The functions of benches that need LibTorch are named in
// bench_tensor_table.cc.
struct Bench {
  std::string_view name;
  std::string_view summary;
  std::vector<BenchFigure> (*run)(const BenchOptions& options);
  bool needs_model = false;
};
[[nodiscard]] const std::vector<Bench>& plain_benches();
// Their functions are null in the program itself; the tensor library sets them when it is entered.
[[nodiscard]] std::vector<Bench>& tensor_benches();
void link_tensor_benches();
// All there are.
[[nodiscard]] std::vector<Bench> benches();

// The machine's limits, to which the other figures are compared.
[[nodiscard]] std::vector<BenchFigure> bench_machine(const BenchOptions& options);
// Generation with a model beside what limits it.
[[nodiscard]] std::vector<BenchFigure> bench_generate(const BenchOptions& options);
// Generation with a draft beside plain generation of the same texts.
[[nodiscard]] std::vector<BenchFigure> bench_draft(const BenchOptions& options);
// A training step beside the matrix product rate.
[[nodiscard]] std::vector<BenchFigure> bench_train(const BenchOptions& options);
// Preparing text files beside copying them.
[[nodiscard]] std::vector<BenchFigure> bench_prepare(const BenchOptions& options);
// Text to ids of T-Free beside SentencePiece and the memory.
[[nodiscard]] std::vector<BenchFigure> bench_encode(const BenchOptions& options);
// Products of square float matrices, the best of several within about `seconds`.
[[nodiscard]] double measure_matmul_flops(int64_t size, double seconds);
// Reading memory far larger than the caches with all threads, the best of several within about `seconds`.
[[nodiscard]] double measure_read_bytes_per_second(double seconds);

}  // namespace verbatim
