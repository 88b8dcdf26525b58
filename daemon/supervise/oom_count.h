// How often the kernel has killed for memory where we live.
#pragma once

#include <cstdint>

namespace deepserve::daemon {

// oom_kill of our cgroup's memory.events (v2) or memory.oom_control (v1), else of /proc/vmstat; 0 when none
// can be read.
uint64_t oom_kill_count();

// Whether it has done so just now: a kill of days ago says nothing of a death of today. Takes the count as it
// was 5 to 10 seconds ago as the base: a large process takes seconds to go after the kill was counted.
class OomWatch {
 public:
  static constexpr uint64_t kRefresh_ns = 5'000'000'000;

  explicit OomWatch(uint64_t (*count)()) : count_(count) {}
  void reset(uint64_t now_ns) {
    base_ = recent_ = count_();
    refreshed_ns_ = now_ns;
  }
  // Reads the count once in kRefresh_ns and else nothing.
  void tick(uint64_t now_ns) {
    if (now_ns - refreshed_ns_ < kRefresh_ns) return;
    base_ = recent_;
    recent_ = count_();
    refreshed_ns_ = now_ns;
  }
  bool rose() const { return count_() != base_; }

 private:
  uint64_t (*count_)();
  uint64_t base_ = 0;
  uint64_t recent_ = 0;
  uint64_t refreshed_ns_ = 0;
};

}  // namespace deepserve::daemon
