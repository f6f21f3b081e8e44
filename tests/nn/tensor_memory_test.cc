#include "nn/tensor_memory.h"

#include <gtest/gtest.h>
#include <torch/version.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "nn/torch.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace verbatim::nn {
namespace {

// The flags of the mapping that holds `address`, as the system lists them: "hg" says that huge pages are wished for.
std::string flags_of_mapping(uintptr_t address) {
  std::ifstream mappings("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(mappings, line)) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream words(line);
    if (words >> std::hex >> begin >> dash >> end && dash == '-') inside = begin <= address && address < end;
    if (inside && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

// What the sanitizer gives instead of the C library's memory is another matter: it is never used again at once, and
// asking for too much ends the program.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

#if defined(__GLIBC__)
// First of all: after an allocation that fails, the C library serves this thread from memory of another kind.
TEST(tensor_memory, keeps_what_a_step_gives_back) {
  if (kSanitized) GTEST_SKIP() << "memory of the sanitizer";
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") != nullptr) GTEST_SKIP() << "set by the user";
  set_up_tensor_memory();
  constexpr int64_t kTensor = int64_t{16} << 20;
  constexpr size_t kTensors = 80;  // 1.25 GiB of addresses: nothing is written to them
  std::vector<at::Tensor> step;
  for (size_t i = 0; i < kTensors; ++i) step.push_back(at::empty({kTensor}, at::kByte));
  const size_t taken = mallinfo2().arena;
  EXPECT_GE(taken, kTensors * kTensor);
  step.clear();
  EXPECT_GE(mallinfo2().arena, taken);
}

// Also beside small tensors that stay: else a training would take more memory with every step.
TEST(tensor_memory, a_tensor_fits_where_one_of_its_size_has_been) {
  if (kSanitized) GTEST_SKIP() << "memory of the sanitizer";
  set_up_tensor_memory();
  std::vector<at::Tensor> large, small;
  for (int i = 0; i < 8; ++i) {
    large.push_back(at::empty({10'000'000 + 4096 * i}, at::kByte));
    small.push_back(at::empty({300'000}, at::kByte));
  }
  for (at::Tensor& tensor : large) {
    const int64_t bytes = tensor.numel();
    const void* place = tensor.data_ptr();
    tensor.reset();
    tensor = at::empty({bytes}, at::kByte);
    EXPECT_EQ(tensor.data_ptr(), place);
  }
}
#endif

TEST(tensor_memory, large_tensors_ask_for_huge_pages) {
#if TORCH_VERSION_MAJOR >= 2
  GTEST_SKIP() << "LibTorch 2 does this by itself";
#endif
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) GTEST_SKIP() << "a system without huge pages";
  set_up_tensor_memory();
  const at::Tensor large = at::full({3 << 20}, 7, at::kFloat);
  EXPECT_NE(flags_of_mapping(reinterpret_cast<uintptr_t>(large.data_ptr())).find(" hg "), std::string::npos);
  EXPECT_EQ(large.sum(at::kDouble).item<double>(), 7.0 * (3 << 20));
  // Grown, shrunk, shared and given back like any other.
  at::Tensor grown = at::empty({10});
  grown.resize_({1 << 20}).fill_(2);
  EXPECT_EQ(grown.narrow(0, 10, 5).sum().item<float>(), 10);
  EXPECT_EQ(at::empty({0}).numel(), 0);
  if (!kSanitized) {
    EXPECT_THROW((void)at::empty({int64_t{1} << 60}, at::kByte), std::bad_alloc);
  }
}

}  // namespace
}  // namespace verbatim::nn
