// Sleeping on a word of memory that processes share: futex(2), without FUTEX_PRIVATE_FLAG.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

#include "ipc/base/clock.h"

namespace deepserve::runner {

// Sleeps while `word` is `expected`, at most `limit_ns`. May return at any time: the caller looks again.
inline void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, uint64_t limit_ns) {
  const timespec limit{.tv_sec = static_cast<time_t>(limit_ns / kSecond_ns),
                       .tv_nsec = static_cast<long>(limit_ns % kSecond_ns)};
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &limit, nullptr, 0);
}

inline void futex_wake_all(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace deepserve::runner
