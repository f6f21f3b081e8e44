#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace verbatim::nn {

// Calls f, the same machine code from wherever it is called. A loop for one thread and one for several are two pieces
// of code. Where f becomes part of both, the compiler may fuse a product with a sum in one of them and another product
// in the other, and the last bit depends on the number of threads.
#if defined(__clang__)
#define VERBATIM_ONE_COPY [[gnu::noinline]]
#else
#define VERBATIM_ONE_COPY [[gnu::noinline, gnu::noclone]]
#endif
template <class F, class... Arguments>
VERBATIM_ONE_COPY void call_one_copy(const F& f, Arguments... arguments) {
  f(arguments...);
}

// Runs body(task) for the tasks [0, count), the last first, each once, on up to `threads` threads. Tasks of unequal
// size are handed out as threads become free, so a task must not care which thread runs it. `body` must not throw.
template <class Body>
void for_each_task(int64_t count, int threads, const Body& body) {
#if defined(_OPENMP)
  if (threads > 1 && count > 1 && !omp_in_parallel()) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t task = count - 1; task >= 0; --task) call_one_copy(body, task);
    return;
  }
#endif
  for (int64_t task = count - 1; task >= 0; --task) call_one_copy(body, task);
}

// Memory of one thread that grows and is reused from call to call; contents are not kept.
class ScratchBuffer {
 public:
  template <class T>
  T* get(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
      size_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
};

}  // namespace verbatim::nn
