#include "runner/lane/load_priority.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

namespace deepserve::runner {
namespace {

// The kernel takes one such word in 100 ms, of all processes.
constexpr int kTries = 50;
constexpr auto kBetweenTries = std::chrono::milliseconds(10);

// False: errno says why.
bool write_nice(const Fd& autogroup, int nice) {
  const std::string text = std::to_string(nice);
  for (int i = 0; ::write(autogroup.get(), text.data(), text.size()) < 0; ++i) {
    if (errno != EAGAIN || i == kTries) return false;
    std::this_thread::sleep_for(kBetweenTries);
  }
  return true;
}

// Whoever began this process may have written it already. "/autogroup-12 nice 10"
bool is_nice(const Fd& autogroup, int nice) {
  char text[64];
  const ssize_t got = ::read(autogroup.get(), text, sizeof text);
  const std::string_view line(text, got > 0 ? static_cast<size_t>(got) : 0);
  return line.ends_with(" nice " + std::to_string(nice) + "\n");
}

}  // namespace

LoadPriority::LoadPriority(int nice) : nice_(nice) {
  if (nice_ == 0 || ::getsid(0) != ::getpid()) return;  // another one's session is not ours to weigh
  autogroup_ = Fd(::open("/proc/self/autogroup", O_RDWR | O_CLOEXEC));
  if (autogroup_ && !is_nice(autogroup_, nice_) && !write_nice(autogroup_, nice_)) autogroup_.reset();
}

void LoadPriority::aside(const std::function<void()>& work) const {
  if (nice_ == 0) return work();
  std::thread([this, &work] {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), nice_);
    work();
  }).join();
}

void LoadPriority::end() {
  if (autogroup_ && !write_nice(autogroup_, 0))
    spdlog::warn("this runner's session stays at nice {}: {}", nice_, std::strerror(errno));
  autogroup_.reset();
}

}  // namespace deepserve::runner
