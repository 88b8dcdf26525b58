// How fast requests have been ending lately, and so when it is worth coming back. Pure (DESIGN 3).
#pragma once

#include <cstdint>

namespace deepserve::daemon {

class CompletionRate {
 public:
  static constexpr uint64_t kRetryAfterMin_ms = 1'000;
  static constexpr uint64_t kRetryAfterMax_ms = 60'000;

  void count(uint64_t now_ns);
  // Requests a second over about the last ten seconds; 0 until the first ended.
  double per_second(uint64_t now_ns) const;
  // When a request that finds `ahead` before it may expect its turn: between the two bounds. Without any rate
  // yet, the lower bound: nothing better is known.
  uint64_t retry_after_ms(uint32_t ahead, uint64_t now_ns) const;

 private:
  double weight_ = 0;  // completions, each fading with the time constant
  uint64_t counted_ns_ = 0;
  uint64_t first_ns_ = 0;
};

}  // namespace deepserve::daemon
