#include "ctl/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl {
namespace {

std::atomic<int> signalled_fd{-1};

void on_interrupt(int) {
  const int saved_errno = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(signalled_fd.load(), &one, sizeof one);
  errno = saved_errno;
}

}  // namespace

InterruptScope::InterruptScope() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(event_);
  CHECK(signalled_fd.exchange(event_.get()) == -1);
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  CHECK(::sigaction(SIGINT, &action, &before_) == 0);
}

InterruptScope::~InterruptScope() {
  ::sigaction(SIGINT, &before_, nullptr);
  signalled_fd.store(-1);
}

Ready wait_readable(int fd, int interrupt_fd, int timeout_ms) {
  const uint64_t start_ns = monotonic_ns();
  for (;;) {
    int left_ms = -1;
    if (timeout_ms >= 0) {
      const auto passed_ms = static_cast<int64_t>((monotonic_ns() - start_ns) / kMillisecond_ns);
      left_ms = static_cast<int>(std::max<int64_t>(0, timeout_ms - passed_ms));
    }
    pollfd watched[] = {{fd, POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    const int count = ::poll(watched, 2, left_ms);
    if (count < 0) {
      CHECK(errno == EINTR);
      continue;
    }
    if (watched[1].revents != 0) return Ready::kInterrupted;
    if (watched[0].revents != 0) return Ready::kReadable;
    if (left_ms >= 0 && static_cast<int64_t>((monotonic_ns() - start_ns) / kMillisecond_ns) >= timeout_ms) {
      return Ready::kTimeout;
    }
  }
}

}  // namespace deepserve::ctl
