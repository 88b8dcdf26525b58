// libsystemd, loaded at run time and only once systemd has said something to us in the environment: a host or
// a container without systemd needs neither it nor the five libraries behind it. Linking it would make all of
// them part of every bundle.
#pragma once

#include <systemd/sd-daemon.h>

#include "ipc/base/result.h"

namespace deepserve::daemon {

struct Libsystemd {
  decltype(&::sd_notify) notify = nullptr;
  decltype(&::sd_watchdog_enabled) watchdog_enabled = nullptr;
  decltype(&::sd_listen_fds_with_names) listen_fds_with_names = nullptr;
};

// Loads it from `name`, for good. kNotSupported where it cannot be loaded or lacks a function, naming which.
Result<Libsystemd> load_libsystemd(const char* name);

// The host's own (libsystemd.so.0), loaded by the first call. The reference is good for the life of the
// process.
const Result<Libsystemd>& libsystemd();

}  // namespace deepserve::daemon
