#include "ipc/lane/wake.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <ctime>

#include "ipc/base/clock.h"

namespace deepserve::ipc {

void signal_eventfd(int eventfd) {
  // It fails only when 2^64 - 2 signals are pending, and then the peer is as awake as it can be.
  [[maybe_unused]] const int result = ::eventfd_write(eventfd, 1);
}

void clear_eventfd(int eventfd) {
  eventfd_t count = 0;
  [[maybe_unused]] const int result =
      ::eventfd_read(eventfd, &count);  // EFD_NONBLOCK: none pending is no error
}

void wait_readable(int eventfd, int other_fd, uint64_t timeout_ns) {
  std::array<pollfd, 2> fds = {pollfd{.fd = eventfd, .events = POLLIN, .revents = 0},
                               pollfd{.fd = other_fd, .events = POLLIN, .revents = 0}};
  constexpr uint64_t kForever_ns = 1'000'000 * kSecond_ns;
  const timespec limit{.tv_sec = static_cast<time_t>(timeout_ns / kSecond_ns),
                       .tv_nsec = static_cast<long>(timeout_ns % kSecond_ns)};
  ::ppoll(fds.data(), fds.size(), timeout_ns < kForever_ns ? &limit : nullptr, nullptr);
}

}  // namespace deepserve::ipc
