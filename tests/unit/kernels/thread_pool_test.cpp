#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace deepserve::kernels {
namespace {

TEST(ThreadPool, EveryIndexIsVisitedOnceInEveryJob) {
  for (const unsigned threads : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (size_t job = 0; job < 2000; ++job) {
      const size_t count = job % 97, chunk = 1 + job % 5;
      std::vector<int> visits(count, 0);
      const auto visit_part = [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) ++visits[i];
      };
      if (job % 2 == 0)
        pool.parallel_for(count, chunk, visit_part);
      else
        pool.parallel_ranges(count, chunk, visit_part);
      ASSERT_EQ(std::accumulate(visits.begin(), visits.end(), 0), static_cast<int>(count));
      for (const int visit : visits) ASSERT_EQ(visit, 1);
    }
  }
}

TEST(ThreadPool, WhatBodiesWroteIsSeenByTheNextJob) {
  ThreadPool pool(4);
  std::vector<uint64_t> values(64, 0);
  for (int job = 0; job < 5000; ++job) {
    std::vector<uint64_t> next(values.size());
    pool.parallel_for(values.size(), 3, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) next[i] = values[(i + 1) % values.size()] + 1;
    });
    values = next;
  }
  for (const uint64_t value : values) EXPECT_EQ(value, 5000u);
}

TEST(ThreadPool, ParkedWorkersLetTheDestructorReturn) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(4);
    if (i % 2 == 0) pool.parallel_for(8, 1, [](size_t, size_t) {});
  }
}

}  // namespace
}  // namespace deepserve::kernels
