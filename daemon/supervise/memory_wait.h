// Before a runner is started where another process has just ended: the device's memory that it needs is to be
// seen free. The driver gives back what a killed process had a while after its end. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

class MemoryWait {
 public:
  static constexpr uint64_t kLimit_ns = 10 * kSecond_ns;

  enum class Verdict : uint8_t {
    kGo,      // it is free, or nobody can tell
    kWait,    // it is not free yet
    kGoLate,  // it was not free within the limit: the runner will say what it lacks
  };

  // A process has ended that had the device's memory.
  void begin(uint64_t now_ns) { begun_ns_ = now_ns; }
  // `free_bytes`: nothing where nobody can tell. kGo and kGoLate end the wait.
  Verdict step(uint64_t now_ns, uint64_t needed_bytes, std::optional<uint64_t> free_bytes) {
    if (begun_ns_ == 0) return Verdict::kGo;
    const bool is_free = !free_bytes || *free_bytes >= needed_bytes;
    if (!is_free && now_ns - begun_ns_ < kLimit_ns) return Verdict::kWait;
    begun_ns_ = 0;
    return is_free ? Verdict::kGo : Verdict::kGoLate;
  }

 private:
  uint64_t begun_ns_ = 0;  // 0: nothing is waited for
};

}  // namespace deepserve::daemon
