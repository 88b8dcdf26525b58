// What dsd tells systemd about itself (sd_notify(3)). Without systemd all of it does nothing.
#pragma once

#include <cstdint>
#include <string>

namespace deepserve::daemon {

void notify_ready(const std::string& status);
void notify_status(const std::string& status);
void notify_stopping();
void notify_watchdog();

// How often notify_watchdog must be called at least; 0: nobody waits for it.
uint64_t watchdog_interval_ms();

}  // namespace deepserve::daemon
