// Sleeping and waking across the lane: a flag in shared memory says "I am about to sleep", an eventfd ends
// the sleep.
//
// It is Dekker's pattern, twice per direction (`armed` for messages, `starved` for room):
//   sleeper: store flag 1; full fence; look at the slot (or head) again; block.
//   waker:   store the slot (or head);  full fence; if flag is set, exchange it for 0 and signal.
// At least one of the two sees the other's store. tests/model_checking/lane.pml checks this with store
// buffers.
#pragma once

#include <atomic>
#include <cstdint>

namespace deepserve::ipc {

// Announces a sleep. What could make it pointless must be looked at again after this and before blocking.
inline void announce_sleep(std::atomic<uint32_t>& flag) {
  flag.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in wake_sleeper
}

// A peer that saw the flag meanwhile may still signal: a wake-up for nothing, which every sleeper bears.
inline void withdraw_sleep(std::atomic<uint32_t>& flag) {
  flag.store(0, std::memory_order_relaxed);
}

void signal_eventfd(int eventfd);

// Takes all signals that have gathered.
void clear_eventfd(int eventfd);

// To be called between storing what the peer may wait for and wake_sleeper. One fence serves any number of
// stores.
inline void fence_before_wake() {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in announce_sleep
}

inline void wake_sleeper(std::atomic<uint32_t>& flag, int eventfd) {
  // The plain load keeps the flag's line shared while nobody sleeps.
  if (flag.load(std::memory_order_relaxed) == 0) return;
  if (flag.exchange(0, std::memory_order_relaxed) != 0) signal_eventfd(eventfd);
}

// Waits until one of the two descriptors (-1: none) is readable or hung up, a signal came, or the time is
// over.
void wait_readable(int eventfd, int other_fd, uint64_t timeout_ns);

}  // namespace deepserve::ipc
