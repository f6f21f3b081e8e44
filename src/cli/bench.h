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
  double seconds = 1;           // per figure, about
  std::filesystem::path model;  // of the benches that measure one: model folder, run folder or settings file
};

// `verbatim bench NAME`: a row of the table in bench_table.cc.
struct Bench {
  std::string_view name;
  std::string_view summary;
  std::vector<BenchFigure> (*run)(const BenchOptions& options);
  bool needs_model = false;
};
[[nodiscard]] const std::vector<Bench>& benches();

// The machine's limits, to which the other figures are compared.
[[nodiscard]] std::vector<BenchFigure> bench_machine(const BenchOptions& options);
// Generation with a model beside what limits it.
[[nodiscard]] std::vector<BenchFigure> bench_generate(const BenchOptions& options);
// A training step beside the matrix product rate.
[[nodiscard]] std::vector<BenchFigure> bench_train(const BenchOptions& options);
// Preparing text files beside copying them.
[[nodiscard]] std::vector<BenchFigure> bench_prepare(const BenchOptions& options);
// Products of square float matrices, the best of several within about `seconds`.
[[nodiscard]] double measure_matmul_flops(int64_t size, double seconds);
// Reading memory far larger than the caches with all threads, the best of several within about `seconds`.
[[nodiscard]] double measure_read_bytes_per_second(double seconds);

}  // namespace verbatim
