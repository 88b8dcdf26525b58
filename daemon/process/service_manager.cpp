#include "daemon/process/service_manager.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <string_view>

#include "daemon/process/libsystemd.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// Null where systemd does not ask for anything in `variable`, or where its library cannot be loaded, which is
// said once: a unit of Type=notify then ends at its TimeoutStartSec, and this is why.
const Libsystemd* asked_in(const char* variable) {
  if (std::getenv(variable) == nullptr) return nullptr;
  const auto& library = libsystemd();
  static const bool said = [&] {
    if (!library) spdlog::error("systemd is told nothing: {}", library.error().message);
    return true;
  }();
  static_cast<void>(said);
  return library ? &*library : nullptr;
}

void notify(const std::string& state) {
  if (const auto* library = asked_in("NOTIFY_SOCKET")) library->notify(0, state.c_str());
}

}  // namespace

void notify_ready(const std::string& status) {
  notify("READY=1\nSTATUS=" + status);
}
void notify_status(const std::string& status) {
  notify("STATUS=" + status);
}
void notify_stopping() {
  notify("STOPPING=1\nSTATUS=Draining");
}
void notify_reloading() {
  const auto now_us = std::to_string(monotonic_ns() / kMicrosecond_ns);
  notify("RELOADING=1\nMONOTONIC_USEC=" + now_us + "\nSTATUS=Upgrading");
}
void notify_watchdog() {
  notify("WATCHDOG=1");
}

uint64_t watchdog_interval_ms() {
  const auto* library = asked_in("WATCHDOG_USEC");
  uint64_t limit_us = 0;
  return library != nullptr && library->watchdog_enabled(0, &limit_us) > 0 ? limit_us / 1000 : 0;
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
