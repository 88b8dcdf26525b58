// Listening sockets that systemd opened for us (sd_listen_fds(3)).
#pragma once

#include <string>
#include <vector>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

struct InheritedSocket {
  std::string name;  // FileDescriptorName= of the socket unit: "api" or "ctl"
  Fd socket;
};

// Takes all of them and removes the variables that told of them. Empty where there are none. kNotSupported
// where there are some and systemd's library cannot be loaded: opening others instead would leave clients at
// dead ones.
Result<std::vector<InheritedSocket>> take_inherited_sockets();

}  // namespace deepserve::daemon
