#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace verbatim {

// Prepares items ahead of their use: `draw` is called in order, one call at a time, and says which item comes next;
// `make` turns it into the item, in `threads` threads at once. next() returns items in the order they were drawn, so
// the result does not depend on the number of threads. At most `depth` items wait or are in the making. With no
// threads, next() draws and makes the item itself. An exception from `make` reaches the next() that would have returned
// its item; one from `draw` ends the drawing and reaches that next() and every later one. Threads stop and join in the
// destructor.
template <class Draft, class Item>
class Prefetcher {
 public:
  Prefetcher(std::function<Draft()> draw, std::function<Item(Draft)> make, size_t threads, size_t depth);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Blocks until the next item is there.
  [[nodiscard]] Item next();

 private:
  void work();

  std::function<Draft()> draw_;
  std::function<Item(Draft)> make_;
  size_t depth_;
  std::mutex mutex_;
  std::mutex draw_mutex_;
  std::condition_variable changed_;
  std::deque<std::future<Item>> ready_;
  bool stopping_ = false;
  std::exception_ptr failure_;  // from draw
  std::vector<std::thread> threads_;
};

}  // namespace verbatim

#include "corpus/prefetcher_inl.h"
