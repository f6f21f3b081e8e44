#include "nn/tensor_memory.h"

#include <torch/version.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#if TORCH_VERSION_MAJOR < 2
#include <c10/core/CPUAllocator.h>
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
    void* data = bytes == 0 ? nullptr : take(bytes);
    if (bytes >= kHugePage) advise(data, bytes);
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kMore = kAlignment + sizeof(void*);

  // Asked for an address that is a multiple of something, the C library (before version 2.38) leaves splinters beside
  // it: of all the memory that is given back nothing then holds another tensor of the same size, and the heap grows. So
  // the tensor begins at such an address within a little more memory, and in front of it stands where that begins.
  static void* take(size_t bytes) {
    void* taken = bytes > SIZE_MAX - kMore ? nullptr : std::malloc(bytes + kMore);
    if (taken == nullptr) throw std::bad_alloc();
    const uintptr_t first = reinterpret_cast<uintptr_t>(taken) + sizeof(void*);
    auto* data = reinterpret_cast<char*>((first + kAlignment - 1) / kAlignment * kAlignment);
    std::memcpy(data - sizeof(void*), &taken, sizeof(void*));
    return data;
  }
  static void give_back(void* data) {
    if (data == nullptr) return;
    void* taken = nullptr;
    std::memcpy(&taken, static_cast<char*>(data) - sizeof(void*), sizeof(void*));
    std::free(taken);
  }

  // For all huge pages that the tensor has a part of; its neighbours in the heap are tensors too.
  static void advise(void* data, size_t bytes) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / kHugePage * kHugePage;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes + kHugePage - 1) / kHugePage * kHugePage;
    // Advice only: a system without huge pages answers with an error and gives small ones.
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
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
