#include "ctl/bench/poller.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr uint64_t kInterrupt_token = UINT64_MAX;

}  // namespace

Poller::Poller(int interrupt_fd) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  CHECK(epoll_);
  if (interrupt_fd >= 0) add(interrupt_fd, EPOLLIN, kInterrupt_token);
}

void Poller::add(int fd, uint32_t events, uint64_t token) {
  epoll_event event{.events = events, .data = {.u64 = token}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

void Poller::change(int fd, uint32_t events, uint64_t token) {
  epoll_event event{.events = events, .data = {.u64 = token}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

std::span<const epoll_event> Poller::wait(uint64_t deadline_ns) {
  const uint64_t now_ns = monotonic_ns();
  const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
  const timespec limit{.tv_sec = static_cast<time_t>(left_ns / kSecond_ns),
                       .tv_nsec = static_cast<long>(left_ns % kSecond_ns)};
  const int found =
      ::epoll_pwait2(epoll_.get(), ready_.data(), static_cast<int>(ready_.size()), &limit, nullptr);
  CHECK(found >= 0 || errno == EINTR);
  auto end = ready_.begin() + std::max(found, 0);
  const auto interrupt = std::find_if(
      ready_.begin(), end, [](const epoll_event& event) { return event.data.u64 == kInterrupt_token; });
  if (interrupt != end) {
    interrupted_ = true;
    std::swap(*interrupt, *--end);
  }
  return {ready_.begin(), end};
}

}  // namespace deepserve::ctl::bench
