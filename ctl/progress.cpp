#include "ctl/progress.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "ctl/units.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl {

Progress::Progress(const Terminal& terminal, std::string doing) : doing_(visible_line(doing)) {
  if (terminal.err_is_terminal) thread_ = std::thread([this] { draw(); });
}

Progress::~Progress() {
  stop();
}

void Progress::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

void Progress::draw() {
  constexpr auto kSilent = std::chrono::seconds(1);
  constexpr auto kRedraw = std::chrono::milliseconds(250);
  constexpr const char* kErase_line = "\r\x1b[K";
  const uint64_t start_ns = monotonic_ns();
  std::unique_lock lock(mutex_);
  bool drawn = false;
  while (!stopped_.wait_for(lock, drawn ? kRedraw : kSilent, [this] { return stopping_; })) {
    const double passed_s = static_cast<double>(monotonic_ns() - start_ns) / static_cast<double>(kSecond_ns);
    fmt::print(stderr, "{}{}: {}", kErase_line, doing_, human_duration(passed_s));
    std::fflush(stderr);
    drawn = true;
  }
  if (drawn) {
    fmt::print(stderr, "{}", kErase_line);
    std::fflush(stderr);
  }
}

}  // namespace deepserve::ctl
