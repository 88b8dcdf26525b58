#include "daemon/process/service_manager.h"

#include <systemd/sd-daemon.h>

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
void notify_watchdog() {
  ::sd_notify(0, "WATCHDOG=1");
}

uint64_t watchdog_interval_ms() {
  uint64_t limit_us = 0;
  return ::sd_watchdog_enabled(0, &limit_us) > 0 ? limit_us / 1000 : 0;
}

}  // namespace deepserve::daemon
