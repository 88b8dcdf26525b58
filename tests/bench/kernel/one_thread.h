// What one thread of this machine does: CPU time, and how fast it reads.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace deepserve::bench {

inline double cpu_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The shortest CPU time that `body` took.
template <typename Body>
double best_seconds(int rounds, const Body& body) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const double begin = cpu_seconds();
    body();
    best = std::min(best, cpu_seconds() - begin);
  }
  return best;
}

// GB/s of one thread that only adds up what it reads.
inline double read_limit(const uint8_t* bytes, size_t size) {
  static volatile uint64_t sink;
  return static_cast<double>(size) / 1e9 / best_seconds(8, [&] {
           const auto* words = reinterpret_cast<const uint64_t*>(bytes);
           uint64_t sums[32] = {};
           for (size_t i = 0; i < size / 8; i += 32) {
             for (size_t k = 0; k < 32; ++k) sums[k] += words[i + k];
           }
           for (const uint64_t sum : sums) sink = sink + sum;
         });
}

}  // namespace deepserve::bench
