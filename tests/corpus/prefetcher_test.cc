#include "corpus/prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>

namespace verbatim {
namespace {

using namespace std::chrono_literals;

TEST(prefetcher, returns_items_in_the_order_of_the_drafts_for_any_number_of_threads) {
  for (const size_t threads : {0u, 1u, 2u, 5u}) {
    int drawn = 0;
    Prefetcher<int, std::string> prefetcher([&] { return drawn++; },
                                            [](int draft) {
                                              // Later drafts are often done first.
                                              std::this_thread::sleep_for((draft % 3) * 200us);
                                              return std::to_string(draft);
                                            },
                                            threads, /*depth=*/4);
    for (int i = 0; i < 60; ++i) ASSERT_EQ(prefetcher.next(), std::to_string(i)) << threads;
  }
}

TEST(prefetcher, works_ahead_but_not_beyond_its_depth) {
  std::atomic<int> drawn = 0;
  Prefetcher<int, int> prefetcher([&] { return drawn++; }, [](int draft) { return draft; }, 3, /*depth=*/4);
  for (int waited = 0; drawn < 4 && waited < 5000; ++waited) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(drawn, 4);
  EXPECT_EQ(prefetcher.next(), 0);
  for (int waited = 0; drawn < 5 && waited < 5000; ++waited) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(drawn, 5);
}

TEST(prefetcher, carries_an_exception_of_make_to_the_caller_in_its_place) {
  for (const size_t threads : {0u, 1u, 3u}) {
    int drawn = 0;
    Prefetcher<int, int> prefetcher([&] { return drawn++; },
                                    [](int draft) {
                                      if (draft == 3) throw std::runtime_error("third");
                                      return draft;
                                    },
                                    threads, 2);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(prefetcher.next(), i);
    EXPECT_THROW((void)prefetcher.next(), std::runtime_error);
    EXPECT_EQ(prefetcher.next(), 4);
  }
}

TEST(prefetcher, repeats_an_exception_of_draw_for_ever) {
  for (const size_t threads : {1u, 4u}) {
    int drawn = 0;
    Prefetcher<int, int> prefetcher(
        [&] {
          if (drawn == 5) throw std::runtime_error("no more");
          return drawn++;
        },
        [](int draft) { return draft; }, threads, 3);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(prefetcher.next(), i);
    for (int i = 0; i < 4; ++i) EXPECT_THROW((void)prefetcher.next(), std::runtime_error);
  }
}

TEST(prefetcher, stops_at_once_when_nobody_takes_its_items) {
  for (int i = 0; i < 20; ++i) {
    Prefetcher<int, int> prefetcher([] { return 1; }, [](int draft) { return draft; }, 4, 2);
  }
}

}  // namespace
}  // namespace verbatim
