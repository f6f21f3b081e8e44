#include "nn/tensor_memory.h"

#include <torch/version.h>

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#if TORCH_VERSION_MAJOR < 2
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#endif

namespace verbatim::nn {
namespace {

#if defined(__GLIBC__)
constexpr int kLargestKept = 32 << 20;  // the most that the C library allows
constexpr int kWithoutLimit = -1;

void keep_freed_memory() {
  // Both or none: setting one stops the other from growing by itself.
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") != nullptr || std::getenv("MALLOC_MMAP_THRESHOLD_") != nullptr) return;
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
  mallopt(M_TRIM_THRESHOLD, kWithoutLimit);
}
#else
void keep_freed_memory() {}
#endif

#if TORCH_VERSION_MAJOR < 2

constexpr size_t kHugePage = size_t{2} << 20;

class HugePageAllocator final : public c10::Allocator {
 public:
  [[nodiscard]] c10::DataPtr allocate(size_t bytes) const override {
    void* data = take(bytes);
    return {data, data, &c10::free_cpu, c10::Device(c10::DeviceType::CPU)};
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }

 private:
  static void* take(size_t bytes) {
    void* data = nullptr;
    // LibTorch's own way reports what cannot be had.
    if (bytes < kHugePage || posix_memalign(&data, kHugePage, bytes) != 0) return c10::alloc_cpu(bytes);
    // Advice only: a system without huge pages answers with an error and gives small ones.
    madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    return data;
  }
};

void ask_for_huge_pages() {
  static HugePageAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

#else
void ask_for_huge_pages() {}
#endif

}  // namespace

void set_up_tensor_memory() {
  keep_freed_memory();
  ask_for_huge_pages();
}

}  // namespace verbatim::nn
