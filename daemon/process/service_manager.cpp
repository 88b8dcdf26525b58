#include "daemon/process/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <string_view>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

void notify_ready(const std::string& status) {
  ::sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
}
void notify_status(const std::string& status) {
  ::sd_notify(0, ("STATUS=" + status).c_str());
}
void notify_stopping() {
  ::sd_notify(0, "STOPPING=1\nSTATUS=Draining");
}
void notify_reloading() {
  const auto now_us = std::to_string(monotonic_ns() / kMicrosecond_ns);
  ::sd_notify(0, ("RELOADING=1\nMONOTONIC_USEC=" + now_us + "\nSTATUS=Upgrading").c_str());
}
void notify_watchdog() {
  ::sd_notify(0, "WATCHDOG=1");
}

uint64_t watchdog_interval_ms() {
  uint64_t limit_us = 0;
  return ::sd_watchdog_enabled(0, &limit_us) > 0 ? limit_us / 1000 : 0;
}

bool service_was_stopped() {
  const char* result = std::getenv("SERVICE_RESULT");
  if (result == nullptr) return true;
  for (const std::string_view stopped : {"success", "timeout", "start-limit-hit"}) {
    if (result == stopped) return true;
  }
  return false;
}

}  // namespace deepserve::daemon
