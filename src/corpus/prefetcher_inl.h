#pragma once

#include <algorithm>
#include <utility>

#include "corpus/prefetcher.h"

namespace verbatim {

template <class Draft, class Item>
Prefetcher<Draft, Item>::Prefetcher(std::function<Draft()> draw, std::function<Item(Draft)> make, size_t threads,
                                    size_t depth)
    : draw_(std::move(draw)), make_(std::move(make)), depth_(std::max<size_t>(1, depth)) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

template <class Draft, class Item>
Prefetcher<Draft, Item>::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

template <class Draft, class Item>
void Prefetcher<Draft, Item>::work() {
  while (true) {
    std::promise<Item> promise;
    std::optional<Draft> draft;
    {
      // One thread at a time waits for room and draws, so that the futures line up in the order of the drafts.
      const std::lock_guard drawing(draw_mutex_);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || ready_.size() < depth_; });
      if (stopping_ || failure_) return;
      ready_.push_back(promise.get_future());
      lock.unlock();
      changed_.notify_all();
      try {
        draft.emplace(draw_());
      } catch (...) {
        lock.lock();
        failure_ = std::current_exception();
        promise.set_exception(failure_);
        return;
      }
    }
    try {
      promise.set_value(make_(std::move(*draft)));
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  }
}

template <class Draft, class Item>
Item Prefetcher<Draft, Item>::next() {
  if (threads_.empty()) return make_(draw_());
  std::future<Item> item;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty() || failure_; });
    if (ready_.empty()) std::rethrow_exception(failure_);
    item = std::move(ready_.front());
    ready_.pop_front();
  }
  changed_.notify_all();
  return item.get();
}

}  // namespace verbatim
