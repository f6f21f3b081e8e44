// libverbatim_tensor.so: the commands that need LibTorch, behind one C function.
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/version.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/machine.h"
#include "cli/bench.h"
#include "cli/blas.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/tensor_library.h"
#include "nn/tensor_memory.h"

namespace verbatim {

#define VERBATIM_COMMAND(name) CommandDefinition name##_command();
#include "tensor_commands.inc"
#undef VERBATIM_COMMAND

namespace {

constexpr std::string_view kSlowBlas =
    "the matrix library is the reference BLAS; install libopenblas0: matrix products are about 50 times slower "
    "without it";

const std::vector<NamedMaker> kTensorDefinitions = {
#define VERBATIM_COMMAND(name) NamedMaker{#name, name##_command},
#include "tensor_commands.inc"
#undef VERBATIM_COMMAND
};

int print_version() {
  const BlasLibrary blas = find_blas();
  Output output(Output::Format::kText);
  output.text(fmt::format("LibTorch: {}\nBLAS: {}{}\n", TORCH_VERSION, blas.name,
                          blas.path.empty() ? "" : fmt::format(" ({})", blas.path)));
  output.flush();
  if (blas.is_reference) spdlog::warn("{}", kSlowBlas);
  return 0;
}

void set_up_tensors(const CommonOptions& common) {
  nn::set_up_tensor_memory();
  // LibTorch alone counts two hardware threads of a core as one; its kernels and ours gain from both.
  at::set_num_threads(common.num_threads > 0 ? static_cast<int>(common.num_threads) : cpu_count());
  if (find_blas().is_reference) spdlog::warn("{}", kSlowBlas);
}

int run(std::string_view name, const std::vector<std::string>& arguments) {
  tensor_definitions() = kTensorDefinitions;
  link_tensor_benches();
  if (name == "--version") return print_version();
  for (const auto* makers : {&plain_definitions(), &kTensorDefinitions}) {
    for (const NamedMaker& maker : *makers) {
      if (maker.name == name) return run_command(maker.make, arguments, set_up_tensors);
    }
  }
  throw_input("libverbatim_tensor.so has no command {}; install both parts from the same build", name);
}

}  // namespace
}  // namespace verbatim

extern "C" __attribute__((visibility("default"))) int verbatim_run_tensor_command(const char* name, int argc,
                                                                                  const char** argv) {
  try {
    return verbatim::run(name, std::vector<std::string>(argv, argv + argc));
  } catch (...) {
    return verbatim::report_exception(name);
  }
}
