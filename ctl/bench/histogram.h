// Durations counted in buckets that are at most 1/64 wide, of any range in bounded memory: percentiles are
// exact to 0.8 %. Pure. The same idea as HdrHistogram: 64 linear buckets to each power of two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace deepserve::ctl::bench {

class Histogram {
 public:
  void record(uint64_t value_ns, uint64_t times = 1);
  void add(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t max_ns() const { return max_ns_; }
  double mean_ns() const;
  // The smallest recorded value that at least `part` of [0, 1] of all values do not exceed (nearest rank);
  // 0 when nothing was recorded.
  uint64_t percentile_ns(double part) const;

 private:
  std::vector<uint64_t> buckets_;  // grows to the largest value seen
  uint64_t count_ = 0;
  uint64_t max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace deepserve::ctl::bench
