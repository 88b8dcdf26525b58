// What dsd tells systemd about itself (sd_notify(3)). Without systemd all of it does nothing.
#pragma once

#include <cstdint>
#include <string>

namespace deepserve::daemon {

void notify_ready(const std::string& status);
void notify_status(const std::string& status);
void notify_stopping();
// This process becomes another program, which will tell READY.
void notify_reloading();
void notify_watchdog();

// How often notify_watchdog must be called at least; 0: nobody waits for it.
uint64_t watchdog_interval_ms();

// In ExecStopPost=: whether the service has ended because it was told to, and not because it died (then it is
// started again, systemd.exec(5) has $SERVICE_RESULT). True where no service manager says anything.
bool service_was_stopped();

}  // namespace deepserve::daemon
