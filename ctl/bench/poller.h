// Waits for sockets, an instant, or Ctrl-C, to the microsecond. One thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>

#include "ipc/base/fd.h"

namespace deepserve::ctl::bench {

class Poller {
 public:
  // `interrupt_fd` becomes readable when the user wants no more; -1: never.
  explicit Poller(int interrupt_fd);

  // Level-triggered. A descriptor that is closed leaves by itself.
  void add(int fd, uint32_t events, uint64_t token);
  void change(int fd, uint32_t events, uint64_t token);

  // Returns what is ready, at `deadline_ns` (monotonic) at the latest. Valid until the next call.
  std::span<const epoll_event> wait(uint64_t deadline_ns);
  bool interrupted() const { return interrupted_; }

 private:
  Fd epoll_;
  std::array<epoll_event, 256> ready_{};
  bool interrupted_ = false;
};

}  // namespace deepserve::ctl::bench
